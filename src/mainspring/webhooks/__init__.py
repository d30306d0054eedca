"""Webhooks: whoever is outside of the platform is told what happens in it."""
