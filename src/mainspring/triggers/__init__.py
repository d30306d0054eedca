"""Triggers: what is decided when a monitor, a schedule, a count or a person asks for a retraining."""
