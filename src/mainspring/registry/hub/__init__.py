"""Models from a hub with the layout of Hugging Face's: downloaded with digests checked, or read from its cache."""
