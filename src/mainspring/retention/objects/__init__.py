"""Objects: which of them anything refers to."""
