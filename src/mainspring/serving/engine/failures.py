"""The log lines of predictions that failed by no fault of the caller, with the caller's trace, and not too many."""

from __future__ import annotations

import logging
import time

from mainspring.core.errors import MainspringError
from mainspring.runtime.http.request import Request
from mainspring.runtime.telemetry.trace import in_trace, parse_traceparent

PAUSE_S = 1.0

log = logging.getLogger("mainspring.data")


class FailureLog:
    """Writes at most one line in PAUSE_S for one arm; the next line tells how many were left out."""

    __slots__ = ("_arm", "_last", "_unsaid")

    def __init__(self, endpoint: str, arm: str, release: str) -> None:
        self._arm = {"endpoint": endpoint, "arm": arm, "release": release}
        self._last, self._unsaid = float("-inf"), 0

    def tell(self, request: Request, prediction_id: str, error: MainspringError) -> None:
        """Log one failure, unless one was logged just now."""
        now = time.monotonic()
        if now - self._last < PAUSE_S:
            self._unsaid += 1
            return
        facts = {**self._arm, "prediction_id": prediction_id, "status": error.status, "unsaid": self._unsaid}
        self._last, self._unsaid = now, 0
        with in_trace(parse_traceparent(request.header(b"traceparent"))):
            log.error("a prediction failed: %s", error, extra=facts)
