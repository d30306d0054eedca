"""Counters, gauges and histograms that cost an integer addition, rendered as Prometheus text.

The hot path counts in plain integers of its own thread; nothing is locked. `Metrics.render` writes the text exposition
format 0.0.4, and `Metrics.collect` gives the same to a `prometheus_client` registry of the control plane.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import isfinite, isnan, nan
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
# 50 us to 30 s: what a model run or a request takes.
LATENCY_BUCKETS_S = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
)  # fmt: skip
SIZE_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Counter:
    """A total that only grows; add to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1) -> None:
        """Count *amount* more."""
        self.value += amount

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """Suffix, extra label and value of each line of the exposition."""
        yield "", "", self.value


class Gauge:
    """A value that goes up and down; set `value`, or give a function that reads it when it is asked for."""

    __slots__ = ("read", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.read: Callable[[], float] | None = None

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """Suffix, extra label and value of each line of the exposition."""
        yield "", "", self.value if self.read is None else _read(self.read)


class Histogram:
    """How many observations fell at or below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count *value*, which is in the unit that the metric's name ends with."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The bound at or below which *share* (0..1) of the observations lie; infinite beyond the last, 0 if none."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            if seen and seen >= wanted:
                return bound
        return 0.0

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """Suffix, extra label and value of each line of the exposition; buckets are cumulative."""
        seen = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            seen += count
            yield "_bucket", f'le="{_number(bound)}"', seen
        yield "_count", "", seen
        yield "_sum", "", self.sum


class Sampled(Protocol):
    """What a family holds for each set of label values."""

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """Suffix, extra label and value of each line of the exposition."""


Child = TypeVar("Child", bound=Sampled)


class Family(Generic[Child]):
    """One metric name with its label names; at most *max_children* label sets, further ones count as "other".

    Keep what `labels` returns where the hot path needs it: the lookup costs more than the count.
    """

    def __init__(
        self, name: str, kind: str, summary: str, labels: tuple[str, ...], make: Callable[[], Child], max_children: int
    ) -> None:
        self.name, self.kind, self.summary = name, kind, summary
        self.label_names = labels
        self.children: dict[tuple[str, ...], Child] = {}
        self._make = make
        self._max_children = max_children

    def labels(self, *values: str) -> Child:
        """The child for these label *values*, in the order of the label names; ValueError for a wrong number."""
        child = self.children.get(values)
        if child is not None:
            return child
        if len(values) != len(self.label_names):
            raise ValueError(f"{self.name} has the labels {self.label_names}, not {len(values)} of them")
        if len(self.children) >= self._max_children:
            values = (OTHER,) * len(self.label_names)
        return self.children.setdefault(values, self._make())

    def remove(self, *values: str) -> None:
        """Forget the child for these label *values*: what it counted is no longer shown."""
        self.children.pop(values, None)

    def lines(self) -> Iterator[str]:
        """The family in Prometheus text, one line at a time."""
        yield f"# HELP {self.name} {_escape_help(self.summary)}"
        yield f"# TYPE {self.name} {self.kind}"
        for values, child in list(self.children.items()):
            shown = [f'{name}="{_escape(value)}"' for name, value in zip(self.label_names, values, strict=True)]
            for suffix, extra, number in child.samples():
                labels = ",".join([*shown, extra] if extra else shown)
                braces = f"{{{labels}}}" if labels else ""
                yield f"{self.name}{suffix}{braces} {_number(number)}"


class Metrics:
    """The metrics of one process, by name; asking again for a name gives the same family.

    Families of different kinds cannot share a name: ValueError.
    """

    def __init__(self, *, max_children: int = 200) -> None:
        self._families: dict[str, Family[Any]] = {}
        self._max_children = max_children

    def counter(self, name: str, summary: str, *labels: str) -> Family[Counter]:
        """Totals; *name* ends in `_total`."""
        return self._family(Family(name, "counter", summary, labels, Counter, self._max_children))

    def gauge(self, name: str, summary: str, *labels: str) -> Family[Gauge]:
        """Values that go up and down."""
        return self._family(Family(name, "gauge", summary, labels, Gauge, self._max_children))

    def histogram(
        self, name: str, summary: str, *labels: str, bounds: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Family[Histogram]:
        """Distributions over *bounds*, ascending; *name* ends in the unit, as in `_seconds`."""
        make: Callable[[], Histogram] = lambda: Histogram(bounds)  # noqa: E731
        return self._family(Family(name, "histogram", summary, labels, make, self._max_children))

    def render(self) -> bytes:
        """All metrics in the Prometheus text exposition format 0.0.4."""
        lines = [line for family in list(self._families.values()) for line in family.lines()]
        return ("\n".join(lines) + "\n").encode() if lines else b""

    def collect(self) -> Iterator[Metric]:
        """All metrics for `prometheus_client.CollectorRegistry.register(metrics)`; needs prometheus-client."""
        from prometheus_client.parser import text_string_to_metric_families

        yield from text_string_to_metric_families(self.render().decode())

    def _family(self, family: Family[Child]) -> Family[Child]:
        known = self._families.setdefault(family.name, family)
        if (known.kind, known.label_names) != (family.kind, family.label_names):
            raise ValueError(f"{family.name} is already a {known.kind} with the labels {known.label_names}")
        return known


def _read(value: Callable[[], float]) -> float:
    try:
        return value()
    except Exception:
        # One value that cannot be told must not take the others with it.
        logger.warning("a gauge cannot be read", exc_info=True)
        return nan


def _number(value: float) -> str:
    if not isfinite(value):
        return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
