"""For tests: a platform that is emptied between them, and the suites that every driver of a storage kit passes."""

from mainspring.testing.platform import Server, server

__all__ = ["Server", "server"]
