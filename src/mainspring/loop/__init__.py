"""The loop on one table: what `mainspring loop run` and `mainspring demo` carry out."""
