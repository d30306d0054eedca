"""The values that are summed up, read row by row with what they are grouped by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    type_coerce,
)

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import Comparison, parse_filter
from mainspring.traces.metrics.model import MetricQuery
from mainspring.traces.model import NAME_TAG
from mainspring.traces.store import assessments, spans, trace_links, trace_metadata, trace_tags, traces

_VIEWS = {name: name for name in ("trace", "span", "assessment")}
_SESSION, _TOKENS, _RUN = "mlflow.trace.session", "mlflow.trace.tokenUsage", "mlflow.sourceRun"
_COST, _MODEL, _PROVIDER = "mlflow.llm.cost", "mlflow.llm.model", "mlflow.llm.provider"
_INT64 = range(-(2**63), 2**63)
_MS = 1_000_000
_AT_ONCE = 2_000


class Value(NamedTuple):
    """One value to sum up; a dimension that is None is not counted."""

    at_ms: int
    dimensions: list[str | None]
    value: float


class _Attributes(msgspec.Struct):
    attributes: dict[str, Any] = {}


_attributes = msgspec.json.Decoder(_Attributes)


def values(connection: Connection, query: MetricQuery) -> Iterator[Value]:
    """Give the values that a checked query asks for; raises InvalidRequest for a filter that cannot be read."""
    view, metric = query.view, query.metric
    parsed = [(name, *_PARSED[name]) for name in query.dimensions if name in _PARSED]
    dimensions = [null() if name in _PARSED else _DIMENSIONS[name] for name in query.dimensions]
    column, read = _measured(view, metric)
    moment: ColumnElement[int] = spans.c.started_ns if view == "spans" else traces.c.started_ms
    content = spans.c.content if parsed or read is _cost_of else null()
    found = select(moment, column, content, *dimensions).where(*_conditions(query))
    table = {"traces": traces, "spans": spans, "assessments": assessments}[view]
    if view == "traces":
        found = found.select_from(traces)
    else:
        found = found.select_from(table.join(traces, traces.c.id == table.c.trace))
    for at, raw, text, *named in connection.execution_options(yield_per=_AT_ONCE).execute(found):
        attributes = _attributes.decode(text).attributes if text is not None else {}
        value = read(attributes, metric) if read is _cost_of else read(raw, metric)
        if value is None:
            continue
        for name, key, _ in parsed:
            named[query.dimensions.index(name)] = _word(attributes.get(key))
        yield Value(at // _MS if view == "spans" else at, named, value)


def sessions(connection: Connection, query: MetricQuery) -> Iterator[tuple[int, str]]:
    """Give the time and the session of each trace that belongs to one."""
    mine = and_(trace_metadata.c.trace == traces.c.id, trace_metadata.c.key == _SESSION)
    found = select(traces.c.started_ms, trace_metadata.c.value).select_from(traces.join(trace_metadata, mine))
    yield from ((at, session) for at, session in connection.execute(found.where(*_conditions(query))))


def _conditions(query: MetricQuery) -> Iterator[ColumnElement[bool]]:
    yield traces.c.experiment.in_([id for id in query.experiments if id.isprintable()])
    if query.view == "assessments":
        yield assessments.c.valid.is_(True)
    own = query.view == "spans" and query.metric.endswith("_cost")
    for bound, is_start in ((query.start_ms, True), (query.end_ms, False)):
        if bound is None:
            continue
        column, edge = (spans.c.started_ns, bound * _MS) if own else (traces.c.started_ms, bound)
        if own and not is_start:
            edge += _MS - 1
        edge = max(min(edge, _INT64.stop - 1), _INT64.start)
        yield column >= edge if is_start else column <= edge
    for text in query.where:
        yield _filter(text, query.view)


def _filter(text: str, view: str) -> ColumnElement[bool]:
    wanted = parse_filter(text, _VIEWS)
    if not isinstance(wanted, Comparison) or wanted.operator != "=":
        raise InvalidRequest(f"Invalid filter: '{text}'. Expected one comparison, and only the '=' operator")
    value, entity = wanted.values[0], wanted.field.entity
    if not isinstance(value, str):
        raise InvalidRequest(f"Expected a quoted string value for {wanted.field} (e.g. 'my-value')")
    if entity == "trace":
        return _of_trace(wanted.field.key, value)
    if f"{entity}s" != view:
        raise InvalidRequest(f"Filtering by {entity} is only supported for {entity.upper()}S view type, got {view}")
    columns = _OWN.get(f"{entity}.{wanted.field.key}")
    if columns is None:
        raise InvalidRequest(f"Invalid entity '{wanted.field.key}' specified for view type '{entity}'")
    column, change = columns
    return column == change(value)


def _of_trace(key: str, value: str) -> ColumnElement[bool]:
    kind, _, name = key.partition(".")
    if kind == "status" and not name:
        return traces.c.state == value.lower()
    table = {"tag": trace_tags, "metadata": trace_metadata}.get(kind)
    if table is None:
        raise InvalidRequest(
            f"Invalid entity '{kind}' specified for view type 'trace': status, tag.KEY or metadata.KEY"
        )
    if not name:
        raise InvalidRequest(f"Filtering by {kind} requires a key, e.g. 'trace.{kind}.<key> = <value>'")
    found = exists(select(literal(1)).where(table.c.trace == traces.c.id, table.c.key == name, table.c.value == value))
    if (kind, name) != ("metadata", _RUN):
        return found
    # A trace may have been linked with its run later.
    c = trace_links.c
    return or_(found, exists(select(literal(1)).where(c.trace == traces.c.id, c.kind == "run", c.target == value)))


def _measured(view: str, metric: str) -> tuple[ColumnElement[Any], Callable[[Any, str], float | None]]:
    if metric.endswith("_count"):
        return literal(1), lambda raw, metric: 1.0
    if view == "assessments":
        return type_coerce(assessments.c.value, Text), _judged
    if metric.endswith("_tokens"):
        mine = and_(trace_metadata.c.trace == traces.c.id, trace_metadata.c.key == _TOKENS)
        return select(trace_metadata.c.value).where(mine).correlate(traces).scalar_subquery(), _tokens_of
    if metric.endswith("_cost"):
        return null(), _cost_of
    if view == "spans":
        return spans.c.ended_ns - spans.c.started_ns, lambda raw, metric: None if raw is None else float(raw // _MS)
    return traces.c.duration_ms, lambda raw, metric: None if raw is None else float(raw)


def _tokens_of(text: Any, metric: str) -> float | None:
    return _number(_mapping(text).get(metric))


def _cost_of(attributes: Any, metric: str) -> float | None:
    return _number(_mapping(attributes.get(_COST)).get(metric))


def _judged(text: Any, metric: str) -> float | None:
    value = None if text is None else msgspec.json.decode(text)
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        return {"yes": 1.0, "no": 0.0}.get(value.strip().lower())
    return _number(value)


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _word(value: Any) -> str | None:
    return value[:500] if isinstance(value, str) else None


def _name() -> ColumnElement[Any]:
    mine = and_(trace_tags.c.trace == traces.c.id, trace_tags.c.key == NAME_TAG)
    return select(trace_tags.c.value).where(mine).correlate(traces).scalar_subquery()


_PARSED = {"span_model_name": (_MODEL, spans), "span_model_provider": (_PROVIDER, spans)}
_DIMENSIONS: dict[str, ColumnElement[Any]] = {
    "trace_name": _name(),
    "trace_status": func.upper(traces.c.state),
    "span_name": spans.c.name,
    "span_type": spans.c.type,
    "span_status": func.upper(spans.c.status),
    "assessment_name": assessments.c.name,
    "assessment_value": type_coerce(assessments.c.value, Text),
}
_OWN: dict[str, tuple[ColumnElement[Any], Callable[[str], str]]] = {
    "span.name": (spans.c.name, str),
    "span.type": (spans.c.type, str),
    "span.status": (spans.c.status, str.lower),
    "assessment.name": (assessments.c.name, str),
    "assessment.type": (assessments.c.kind, str.lower),
}
