"""Foreign wire formats, each a mapping onto the same services; strangers to each other."""
