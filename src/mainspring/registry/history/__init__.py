"""What was in production when: the past of a model's versions, aliases and stages, told from the journal."""
