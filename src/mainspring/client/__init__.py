"""The SDK: the same calls, embedded or remote."""
