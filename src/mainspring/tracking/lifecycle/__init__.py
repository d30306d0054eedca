"""Runs as their clients drive them: begun by the id of an experiment, changed at will, deleted and restored."""
