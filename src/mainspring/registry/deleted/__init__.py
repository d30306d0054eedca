"""Models and versions that were deleted, as they were, until somebody restores or forgets them."""
