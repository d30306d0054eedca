"""Models, their immutable versions, aliases, stages and the gates before promotion."""
