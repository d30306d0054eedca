"""Objects: immutable bytes under their own SHA-256; folders of them as trees."""
