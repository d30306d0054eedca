"""Keys and values: online features, caches, limits."""
