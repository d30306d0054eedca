"""Alerts of runs: what a program thought somebody should know at once."""
