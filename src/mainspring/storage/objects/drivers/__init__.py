"""Where objects are kept: one file per technology."""
