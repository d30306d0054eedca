"""Logged models: what runs left behind before anybody gave it a name in the registry."""
