"""Runs of other trackers, brought here whole, as often as one likes, and taken back to MLflow."""
