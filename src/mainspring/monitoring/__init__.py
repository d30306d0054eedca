"""Monitoring: drift of what comes in and goes out, and quality on labels, within a budget of false alarms."""
