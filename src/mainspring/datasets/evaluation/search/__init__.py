"""Search of evaluation datasets."""
