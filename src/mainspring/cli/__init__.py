"""The command line: one file per noun, most verbs derived from the operations."""
