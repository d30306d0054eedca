"""Calls of the protocol, declared beside what carries them out; nobody writes a route by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, get_type_hints

import msgspec

from mainspring.access.service import Access
from mainspring.datasets.evaluation.service import EvaluationDatasets
from mainspring.registry.catalogue.service import Catalogue
from mainspring.registry.logged.service import LoggedModels
from mainspring.registry.service import Registry
from mainspring.scorers.service import Scorers
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.sql.database import Database, Work
from mainspring.traces.issues.service import Issues
from mainspring.traces.label_schemas.service import LabelSchemas
from mainspring.traces.metrics.service import TraceMetrics
from mainspring.traces.service import Traces
from mainspring.tracking.service import Tracking
from mainspring.webhooks.service import Webhooks

Ask = TypeVar("Ask", bound=msgspec.Struct)


class Services(Protocol):
    """What the protocol is spoken over; the embedded platform has it all."""

    tracking: Tracking
    registry: Registry
    catalogue: Catalogue
    logged_models: LoggedModels
    traces: Traces
    trace_metrics: TraceMetrics
    issues: Issues
    label_schemas: LabelSchemas
    evaluation_datasets: EvaluationDatasets
    scorers: Scorers
    webhooks: Webhooks
    access: Access
    objects: ObjectStore
    database: Database


class Empty(msgspec.Struct, frozen=True):
    """A body without fields: ``{}``."""


class Call(msgspec.Struct, frozen=True):
    """One call: how it is reached, the struct of its request, and what carries it out.

    One that `writes` gives, instead of its answer, the work of a transaction that ends in it, so that the works of
    several callers may share one.
    """

    method: str
    path: str
    ask: type[msgspec.Struct]
    carry_out: Callable[[Any, Any], Any]
    writes: bool = False

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """The path as a pattern, None when it has no arguments; an argument ``{name:path}`` may hold slashes."""
        if "{" not in self.path:
            return None
        parts = re.split(r"\{(\w+)(:path)?\}", self.path)
        told = re.escape(parts[0])
        for at in range(1, len(parts), 3):
            told += f"(?P<{parts[at]}>{'.*' if parts[at + 1] else '[^/]+'}){re.escape(parts[at + 2])}"
        return re.compile(told)


class CallList:
    """The calls of one noun. *base* is put before every path: ``/2.0/mlflow``."""

    def __init__(self, base: str = "/2.0/mlflow") -> None:
        self._base = base
        self.calls: list[Call] = []

    def on(
        self, methods: str, *paths: str
    ) -> Callable[[Callable[[Services, Ask], Any]], Callable[[Services, Ask], Any]]:
        """Declare a function ``(services, ask) -> answer`` as the call of these paths.

        *methods* are parted by blanks. The type of ``ask`` says how the request is read: from the JSON body of a POST,
        PUT, PATCH or DELETE, from the query of a GET, with the arguments of the path on top.
        """

        return partial(self._declare, methods, paths, writes=False)

    def writes(
        self, methods: str, *paths: str
    ) -> Callable[[Callable[[Services, Ask], Work[Any]]], Callable[[Services, Ask], Work[Any]]]:
        """Declare a function ``(services, ask) -> work`` likewise: it checks; its work writes and gives the answer."""
        return partial(self._declare, methods, paths, writes=True)

    def _declare(
        self, methods: str, paths: Sequence[str], function: Callable[[Services, Ask], Any], *, writes: bool
    ) -> Callable[[Services, Ask], Any]:
        ask = get_type_hints(function)["ask"]
        self.calls += [
            Call(method, f"{self._base}/{path}", ask, function, writes) for method in methods.split() for path in paths
        ]
        return function


class CallTable:
    """Finds the call of a method and a path: at once when the path has no arguments."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._fixed: dict[tuple[str, str], Call] = {}
        self._patterns: list[tuple[re.Pattern[str], Call]] = []
        for call in calls:
            pattern = call.pattern
            if pattern is None:
                self._fixed[call.method, call.path] = call
            else:
                self._patterns.append((pattern, call))

    def find(self, method: str, path: str) -> tuple[Call, dict[str, str]] | None:
        """Give the call and the arguments that its path holds; None when there is none."""
        call = self._fixed.get((method, path))
        if call is not None:
            return call, {}
        for pattern, candidate in self._patterns:
            if candidate.method == method and (found := pattern.fullmatch(path)) is not None:
                return candidate, found.groupdict()
        return None

    def methods(self, path: str) -> list[str]:
        """Give the methods that a path takes."""
        fixed = {method for method, known in self._fixed if known == path}
        return sorted(fixed | {call.method for pattern, call in self._patterns if pattern.fullmatch(path)})
