"""Runs that are made of others (forked at a step, cloned with other parameters), and histories that are corrected."""
