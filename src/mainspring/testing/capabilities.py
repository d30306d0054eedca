"""What a driver cannot do is said in its own file, and a suite expects exactly those tests to fail.

A driver has ``lacks = {"capability": "reason"}``; a test of a suite that needs more than the minimum is marked
``@needs("capability")``. For a driver that lacks it the test becomes a strict xfail: it fails the day that it works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])


def needs(capability: str) -> Callable[[Test], Test]:
    """Mark a test of a suite as one that needs this capability."""

    def mark(test: Test) -> Test:
        test.__needs__ = capability  # type: ignore[attr-defined]
        return test

    return mark


def expect_what_is_lacking(request: pytest.FixtureRequest, lacks: Mapping[str, str]) -> None:
    """Turn the running test into a strict xfail if the driver says that it lacks what the test needs."""
    capability = str(getattr(getattr(request.node, "function", None), "__needs__", ""))
    if capability in lacks:
        request.applymarker(pytest.mark.xfail(reason=lacks[capability], strict=True))
