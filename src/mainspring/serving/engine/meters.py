"""Counts and latencies of each arm, kept in plain lists so that counting costs next to nothing."""

from __future__ import annotations

_BUCKETS = 64
_FIRST, _LAST = 5, 27


class Meter:
    """What one arm of an endpoint answered; latencies fall into powers of two of a microsecond."""

    __slots__ = ("batches", "buckets", "latency_us", "rows", "statuses")

    def __init__(self) -> None:
        self.buckets = [0] * _BUCKETS
        self.latency_us = 0
        self.rows = 0
        self.batches = 0
        self.statuses: dict[int, int] = {}

    def failed(self, status: int) -> None:
        """Count one answer that is no prediction."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def answered(self, requests: int, rows: int, latency_us: int) -> None:
        """Count the answers of one model run; *latency_us* is the sum over its requests."""
        self.statuses[200] = self.statuses.get(200, 0) + requests
        self.rows += rows
        self.batches += 1
        self.latency_us += latency_us


def render(meters: dict[tuple[str, str, str], Meter]) -> str:
    """Write the meters in the Prometheus text format; the keys are endpoint, arm and model version."""
    lines = [
        "# HELP mainspring_requests_total Prediction requests by the status of their answer.",
        "# TYPE mainspring_requests_total counter",
    ]
    for key, meter in meters.items():
        lines += [
            f'mainspring_requests_total{{{_labels(key)},status="{status}"}} {count}'
            for status, count in sorted(meter.statuses.items())
        ]
    lines += _counter("mainspring_rows_total", "Rows predicted.", {key: m.rows for key, m in meters.items()})
    lines += _counter("mainspring_model_runs_total", "Model runs.", {key: m.batches for key, m in meters.items()})
    lines += [
        "# HELP mainspring_request_seconds Time from the request to its answer.",
        "# TYPE mainspring_request_seconds histogram",
    ]
    for key, meter in meters.items():
        lines += _histogram(_labels(key), meter)
    return "\n".join(lines) + "\n"


def gauge(name: str, told: str, value: float) -> str:
    """Write one gauge without labels."""
    return f"# HELP {name} {told}\n# TYPE {name} gauge\n{name} {value}\n"


def _counter(name: str, told: str, values: dict[tuple[str, str, str], int]) -> list[str]:
    head = [f"# HELP {name} {told}", f"# TYPE {name} counter"]
    return head + [f"{name}{{{_labels(key)}}} {value}" for key, value in values.items()]


def _labels(key: tuple[str, str, str]) -> str:
    endpoint, arm, version = key
    return f'endpoint="{endpoint}",arm="{arm}",version="{version}"'


def _histogram(labels: str, meter: Meter) -> list[str]:
    lines, total = [], 0
    for power, count in enumerate(meter.buckets):
        total += count
        if _FIRST <= power < _LAST:
            # A latency of n bits is below 2**n microseconds.
            lines.append(f'mainspring_request_seconds_bucket{{{labels},le="{2**power / 1e6:g}"}} {total}')
    lines.append(f'mainspring_request_seconds_bucket{{{labels},le="+Inf"}} {total}')
    lines.append(f"mainspring_request_seconds_sum{{{labels}}} {meter.latency_us / 1e6:g}")
    lines.append(f"mainspring_request_seconds_count{{{labels}}} {total}")
    return lines
