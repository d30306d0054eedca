"""Fixtures of these tests."""

from tests.serving.worker import worker

__all__ = ["worker"]
