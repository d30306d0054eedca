"""Metrics: histories of points, and the latest point of each."""
