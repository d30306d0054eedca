"""Pipelines: durable jobs of Python steps, run by workers under leases."""
