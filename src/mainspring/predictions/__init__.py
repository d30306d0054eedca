"""Predictions and their labels: what was answered, by which release, and what turned out to be true."""
