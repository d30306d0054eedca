"""Label schemas: the questions that people answer about traces, and what answers each takes."""
