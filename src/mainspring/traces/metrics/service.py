"""The verbs about many traces at once."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta

from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database
from mainspring.traces.metrics import store
from mainspring.traces.metrics.aggregating import aggregated
from mainspring.traces.metrics.model import MetricPoint, MetricQuery

Points = list[MetricPoint]
Group = tuple[int | str, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TraceMetrics:
    """What the traces of experiments say together, from *database*."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @operation("POST /traces/metrics")
    def query(self, query: MetricQuery) -> Points:
        """Sum up what was measured of traces, spans or assessments, by group: counts, latencies, tokens, cost, values.

        Raises InvalidRequest for what is not measured, or not like this.
        """
        query.check()
        groups: dict[Group, array[float]] = {}
        sessions: dict[Group, set[str]] = {}
        with self.database.read() as connection:
            if query.metric == "session_count":
                for at, session in store.sessions(connection, query):
                    sessions.setdefault(_bucket(query, at), set()).add(session)
                groups = {group: array("d", bytes(8 * len(found))) for group, found in sessions.items()}
            else:
                for at, named, value in store.values(connection, query):
                    if None not in named:
                        group = (*_bucket(query, at), *map(str, named))
                        groups.setdefault(group, array("d")).append(value)
        if not groups and not query.dimensions and query.interval_s is None and query.metric.endswith("_count"):
            groups = {(): array("d")}
        return [_point(query, group, groups[group]) for group in sorted(groups)]


def _bucket(query: MetricQuery, at_ms: int) -> Group:
    if query.interval_s is None:
        return ()
    return (at_ms // (query.interval_s * 1000) * query.interval_s * 1000,)


def _point(query: MetricQuery, group: Group, values: array[float]) -> MetricPoint:
    ordered = sorted(values)
    names = ["time_bucket"] if query.interval_s is not None else []
    dimensions = {
        name: _moment(part) if isinstance(part, int) else part
        for name, part in zip([*names, *query.dimensions], group, strict=True)
    }
    return MetricPoint(query.metric, dimensions, {one.name: aggregated(one, ordered) for one in query.aggregations})


def _moment(ms: int) -> str:
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).isoformat()
    except OverflowError:
        return str(ms)
