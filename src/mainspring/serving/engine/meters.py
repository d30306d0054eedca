"""What each arm answered, counted in the process's metrics."""

from __future__ import annotations

from bisect import bisect_left

from mainspring.runtime.telemetry.metrics import LATENCY_BUCKETS_S, SIZE_BUCKETS, Counter, Family, Metrics

Arm = tuple[str, str, str]
"""Endpoint, arm and model version."""

LATENCY_BUCKETS_US = tuple(round(bound * 1e6) for bound in LATENCY_BUCKETS_S)


class Meter:
    """The counters of one arm."""

    __slots__ = ("_latency", "_requests", "_rows", "_runs", "statuses")

    def __init__(self, meters: Meters, arm: Arm) -> None:
        self._latency = meters.latency.labels(*arm)
        self._rows = meters.rows.labels(*arm)
        self._runs = meters.runs.labels(*arm)
        self._requests = (meters.requests, arm)
        self.statuses: dict[int, Counter] = {}

    def failed(self, status: int) -> None:
        """Count one answer that is no prediction."""
        self._status(status).value += 1

    def answered(self, latencies_us: list[int], rows: int) -> None:
        """Count the answers of one model run over *rows* rows, by the latency of each."""
        self._status(200).value += len(latencies_us)
        self._rows.value += rows
        self._runs.observe(rows)
        self._latency.sum += sum(latencies_us) / 1e6
        counts = self._latency.counts
        for latency_us in latencies_us:
            counts[bisect_left(LATENCY_BUCKETS_US, latency_us)] += 1

    def _status(self, status: int) -> Counter:
        counter = self.statuses.get(status)
        if counter is None:
            family, arm = self._requests
            counter = self.statuses[status] = family.labels(*arm, str(status))
        return counter


class Meters:
    """The meters of the arms that are served; those of an arm that is gone are forgotten."""

    def __init__(self, metrics: Metrics) -> None:
        names = ("endpoint", "arm", "version")
        self.requests: Family[Counter] = metrics.counter(
            "mainspring_requests_total", "Prediction requests by the status of their answer.", *names, "status"
        )
        self.rows = metrics.counter("mainspring_rows_total", "Rows predicted.", *names)
        self.latency = metrics.histogram("mainspring_request_seconds", "From a request to its answer.", *names)
        self.runs = metrics.histogram("mainspring_run_rows", "Rows of one model run.", *names, bounds=SIZE_BUCKETS)
        self._meters: dict[Arm, Meter] = {}

    def of(self, arm: Arm) -> Meter:
        """Give the meter of an arm."""
        meter = self._meters.get(arm)
        if meter is None:
            meter = self._meters[arm] = Meter(self, arm)
        return meter

    def keep(self, arms: set[Arm]) -> None:
        """Forget all other arms."""
        for arm in [arm for arm in self._meters if arm not in arms]:
            for status in self._meters.pop(arm).statuses:
                self.requests.remove(*arm, str(status))
            for family in (self.rows, self.latency, self.runs):
                family.remove(*arm)
