"""Who may do what: users, their tokens, and their permissions on experiments and models."""
