"""Tracking: experiments, runs, and what each run read, set, measured and left behind."""
