"""Where tables are kept: one file per technology."""
