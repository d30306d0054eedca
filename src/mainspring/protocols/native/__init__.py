"""Our own HTTP API, derived from the operations that the services declare."""
