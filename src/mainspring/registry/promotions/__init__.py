"""The verbs of protected aliases: define policies, protect, evaluate, approve, reject."""
