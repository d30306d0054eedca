"""Lineage and audit: what came from what, by which event, and who caused it."""
