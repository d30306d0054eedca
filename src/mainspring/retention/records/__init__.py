"""Records that were deleted: which they are, and their removal row by row."""
