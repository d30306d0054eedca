"""Training: a small tracked search over sound candidates, ending in one self-contained model."""
