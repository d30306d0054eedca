"""Where records are kept: one file per technology."""
