"""Suites that every driver of a storage kit passes, for those who write one more."""
