"""Releases: immutable sets of everything that an endpoint serves together, deployed, canaried and rolled back."""
