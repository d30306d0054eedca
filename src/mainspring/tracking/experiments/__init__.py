"""Experiments by their ids: found by what they are, renamed, deleted and restored."""
