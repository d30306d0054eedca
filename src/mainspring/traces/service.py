"""The verbs of traces: take them in span by span, say what is known of the whole, judge them, find them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.traces import store
from mainspring.traces.correlation import Counts
from mainspring.traces.events import TracesDeleted
from mainspring.traces.limits import check_id, check_key, check_ms, check_span, cut, preview, storable
from mainspring.traces.model import (
    MAX_BATCH,
    MAX_LINKS,
    Assessment,
    LinkKind,
    Span,
    Trace,
    TracePage,
    TraceSpans,
    TraceState,
)
from mainspring.traces.search import store as search_store
from mainspring.traces.search.filters import parse_filter, parse_order

Totals = Callable[[Sequence[Span]], Mapping[str, str]]
"""Sums up what the spans of a trace count, as metadata of the trace."""

Names = list[str]
Spans = list[Span]

_MS = 1_000_000
_UNDECIDED = ("in_progress", "unspecified")


class Traces:
    """Traces of all experiments, kept in *database*. Experiments and runs are named by their ids, and not looked up."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.database = database
        self.clock = clock or SystemClock()

    # Taking in

    def log_spans(self, experiment: str, came: Sequence[TraceSpans], totals: Totals | None = None) -> None:
        """Write spans, all or nothing; a trace that is not there yet begins in *experiment*.

        A span is kept once by its trace and id: what is sent again changes nothing, and one that has ended is not
        undone by a message from before its end. Until the trace is complete, its time and state follow from its spans,
        and *totals* makes metadata of all spans of those that count; what its writer has said is left as it is.
        Raises InvalidData for a span that cannot be stored.
        """
        for part in came:
            check_id(part.trace)
            for span in part.spans:
                check_id(span.id, "span")
                check_span(span)
        rows = [row for part in came for row in store.span_rows(part)]
        came = [part for part in came if part.spans]
        begun = [_begun(experiment, part) for part in came]
        tags = {part.trace: cut(part.tags) for part in came}
        known = {part.trace: cut(part.metadata) for part in came}
        links = [(part.trace, part.run) for part in came if part.run is not None]
        with self.database.begin() as connection:
            standing = store.begin_traces(connection, begun)
            store.write(connection, store.spans, rows)
            for part in came:
                store.update_trace(connection, part.trace, _grown(standing[part.trace], part))
            store.set_texts(connection, store.trace_tags, tags)
            store.set_texts(connection, store.trace_metadata, known, keep=True)
            if totals is not None:
                counted = [part.trace for part in came if part.counts]
                for trace, spans in store.spans_of(connection, counted).items():
                    sums, said = totals(spans), standing[trace].complete
                    store.set_texts(connection, store.trace_metadata, {trace: sums}, keep=said)
            store.insert_links(connection, "run", links)

    def put_trace(self, trace: Trace, *, run: str | None = None) -> Trace:
        """Say what is known of a trace as a whole; it is complete with this, and saying it again changes nothing.

        Tags and metadata are added to those that spans brought, its assessments to those that there are.
        """
        check_id(trace.id)
        check_ms(trace.started_ms, trace.duration_ms)
        tags, known = cut(trace.tags), cut(trace.metadata)
        owned = [msgspec.structs.replace(one, trace=trace.id) for one in trace.assessments]
        named = [_named(one, again) for again, one in enumerate(owned)]
        stated = msgspec.structs.replace(
            trace,
            client_request=storable(trace.client_request),
            request=preview(trace.request),
            response=preview(trace.response),
            complete=True,
            has_spans=False,
        )
        with self.database.begin() as connection:
            before = store.begin_traces(connection, [stated])[trace.id]
            changed = store.trace_columns(stated) | {"has_spans": before.has_spans}
            for name in ("request", "response"):
                changed[name] = changed[name] if changed[name] is not None else getattr(before, name)
            store.update_trace(connection, trace.id, changed)
            store.set_texts(connection, store.trace_tags, {trace.id: tags})
            store.set_texts(connection, store.trace_metadata, {trace.id: known})
            store.write_assessments(connection, named)
            if run is not None:
                store.insert_links(connection, "run", [(trace.id, run)])
            return store.find_traces(connection, [trace.id])[0]

    # Reading

    @operation("GET /traces/{trace}")
    def get_trace(self, trace: str) -> Trace:
        """Get what is known of a trace as a whole.

        Raises NotFound.
        """
        for found in self.list_traces([trace]):
            return found
        raise store.unknown(trace)

    def list_traces(self, traces: Sequence[str], experiments: Sequence[str] | None = None) -> list[Trace]:
        """Give those of the traces that there are, in the order asked for."""
        _check_batch(traces)
        with self.database.read() as connection:
            return store.find_traces(connection, traces, experiments)

    @operation("GET /traces/{trace}/spans")
    def list_spans(self, trace: str) -> Spans:
        """List the spans of a trace, roots first and then in the order of their start; raises NotFound."""
        self.get_trace(trace)
        return self.spans([trace])[trace]

    def spans(self, traces: Sequence[str]) -> dict[str, list[Span]]:
        """Give the spans of traces, roots first and then in the order of their start."""
        _check_batch(traces)
        with self.database.read() as connection:
            return store.spans_of(connection, traces)

    @operation("GET /traces")
    def search_traces(
        self,
        experiments: Names,
        where: str = "",
        order_by: Names | None = None,
        limit: int = 100,
        page: str | None = None,
    ) -> TracePage:
        """Find traces of experiments, newest first, without their spans.

        Raises InvalidRequest for a filter, order or page that cannot be read.
        """
        for experiment in experiments:
            check_id(experiment, "experiment")
        condition = parse_filter(where)
        order = [parse_order(text) for text in order_by or []]
        with self.database.read() as connection:
            found, following = search_store.find_traces(
                connection, list(experiments), condition, order, limit=limit, page=page
            )
            return TracePage(store.details(connection, found), following)

    @operation("GET /trace-counts")
    def count_together(self, experiments: Names, one: str, two: str, base: str = "") -> Counts:
        """Count the traces that pass *base*, and how many of them pass filter *one*, filter *two*, and both.

        Raises InvalidRequest for a filter that cannot be read.
        """
        for experiment in experiments:
            check_id(experiment, "experiment")
        conditions = [parse_filter(where) for where in (base, one, two)]
        with self.database.read() as connection:
            return search_store.count_together(connection, list(experiments), *conditions)

    # Changing

    @operation("PUT /traces/{trace}/tags/{key:path}")
    def set_tag(self, trace: str, key: str, value: str) -> None:
        """Set a tag of a trace.

        Raises NotFound, InvalidRequest for a key that cannot be stored.
        """
        texts = cut({key: value})
        with self.database.begin() as connection:
            store.require_locked(connection, trace)
            store.set_texts(connection, store.trace_tags, {trace: texts})

    @operation("DELETE /traces/{trace}/tags/{key:path}")
    def delete_tag(self, trace: str, key: str) -> None:
        """Remove a tag of a trace.

        Raises NotFound when the trace has none of this key.
        """
        check_key(key)
        with self.database.begin() as connection:
            store.require_locked(connection, trace)
            if not store.delete_tag(connection, trace, key):
                raise NotFound(f"No tag with key {key!r} for trace with ID '{trace}'", trace=trace, key=key)

    def link(self, kind: LinkKind, target: str, traces: Sequence[str]) -> None:
        """Note that traces belong to a run, or used the version of a prompt; traces that are not there are left out."""
        if len(traces) > MAX_LINKS:
            raise InvalidRequest(f"Cannot link more than {MAX_LINKS} traces at once, got {len(traces)}: send several")
        check_id(target, kind)
        _check_batch(traces)
        with self.database.begin() as connection:
            there = store.lock_traces(connection, traces)
            store.insert_links(connection, kind, [(trace, target) for trace in traces if trace in there])

    @operation("POST /traces/delete")
    def delete_traces(
        self,
        experiment: str,
        traces: Names | None = None,
        until_ms: int | None = None,
        most: int | None = None,
    ) -> int:
        """Delete traces of an experiment, by their ids or those that began up to a time; gives how many.

        *most* bounds their number, the oldest go first. Raises InvalidRequest unless just one of both is given.
        """
        if bool(traces) == (until_ms is not None):
            raise InvalidRequest("Either a time or the ids of the traces must be given, and not both")
        if most is not None and (traces or most <= 0):
            raise InvalidRequest(f"The most to delete goes with a time and is at least 1, got {most}")
        _check_batch(traces or [])
        check_ms(until_ms)
        check_id(experiment, "experiment")
        with self.database.begin() as connection:
            gone = store.delete_traces(connection, experiment, ids=traces or [], until_ms=until_ms, most=most)
            if gone:
                emit(connection, TracesDeleted(experiment=experiment, traces=gone))
        return gone

    # Judging

    @operation("POST /assessments")
    def assess(self, judged: Assessment) -> Assessment:
        """Log an assessment of a trace; one that overrides another makes that invalid.

        Without an id it gets one that follows from all that it says, so that it may be sent again; without a time it is
        dated now. Raises NotFound for an unknown trace or one overridden that is not there.
        """
        now = self._now_ms()
        dated = judged.created_ms or now
        one = _named(msgspec.structs.replace(judged, created_ms=dated, updated_ms=judged.updated_ms or dated))
        with self.database.begin() as connection:
            store.require_locked(connection, one.trace)
            if one.overrides and not store.set_validity(connection, one.trace, one.overrides, False):
                raise _no_assessment(one.trace, one.overrides)
            store.write_assessments(connection, [one], replace=False)
        return one

    @operation("GET /traces/{trace}/assessments/{id}")
    def get_assessment(self, trace: str, id: str) -> Assessment:
        """Get an assessment.

        Raises NotFound.
        """
        check_id(trace)
        check_id(id, "assessment")
        with self.database.read() as connection:
            found = store.find_assessment(connection, trace, id)
            if found is None:
                if not store.existing(connection, [trace]):
                    raise store.unknown(trace)
                raise _no_assessment(trace, id)
            return found

    def change_assessment(
        self, trace: str, id: str, changes: Mapping[str, Any], metadata: Mapping[str, str] | None = None
    ) -> Assessment:
        """Change an assessment: its name, value, error or rationale; *metadata* is added to what it has.

        Raises NotFound, and InvalidRequest for changes of another kind of assessment.
        """
        check_id(id, "assessment")
        with self.database.begin() as connection:
            store.require_locked(connection, trace)
            before = store.find_assessment(connection, trace, id)
            if before is None:
                raise _no_assessment(trace, id)
            if changes.get("kind", before.kind) != before.kind:
                raise InvalidRequest(f"{id} is no {changes['kind']} but {before.kind}, which it stays: log another")
            after = msgspec.structs.replace(
                before, **changes, metadata=before.metadata | dict(metadata or {}), updated_ms=self._now_ms()
            )
            after = _clean(after)
            store.write_assessments(connection, [after])
        return after

    @operation("DELETE /traces/{trace}/assessments/{id}")
    def delete_assessment(self, trace: str, id: str) -> None:
        """Delete an assessment; what it overrode holds again. One that is not there is deleted already.

        Raises NotFound for an unknown trace.
        """
        check_id(id, "assessment")
        with self.database.begin() as connection:
            store.require_locked(connection, trace)
            found = store.find_assessment(connection, trace, id)
            if found is None:
                return
            if found.overrides:
                store.set_validity(connection, trace, found.overrides, True)
            store.delete_assessment(connection, id)

    def _now_ms(self) -> int:
        return round(self.clock.now().timestamp() * 1000)


def _check_batch(traces: Sequence[str]) -> None:
    if len(traces) > MAX_BATCH:
        raise InvalidRequest(f"{len(traces)} traces are more than the {MAX_BATCH} of one call: ask several times")
    for trace in traces:
        check_id(trace)


def _no_assessment(trace: str, id: str) -> NotFound:
    return NotFound(f"Assessment with ID '{id}' not found for trace '{trace}'", trace=trace, assessment=id)


def _clean(one: Assessment) -> Assessment:
    try:
        msgspec.json.encode((one.value, one.error, one.metadata))
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"the value or metadata of the assessment {one.name!r} cannot be kept: {error}") from None
    check_ms(one.created_ms, one.updated_ms)
    return msgspec.structs.replace(
        one,
        name=storable(one.name),
        source_type=storable(one.source_type),
        source_id=storable(one.source_id),
        span=storable(one.span),
        rationale=storable(one.rationale),
    )


def _named(one: Assessment, again: int = 0) -> Assessment:
    if not 1 <= len(one.name) <= 250:
        raise InvalidRequest(f"the name of an assessment has 1 to 250 characters, not {len(one.name)}")
    if one.id:
        check_id(one.id, "assessment")
        return _clean(one)
    clean = _clean(one)
    # What is sent twice, as a client does when it saw no answer, gets the same id and stays one.
    said = sha256(msgspec.json.encode((clean, again))).hexdigest()[:32]
    return msgspec.structs.replace(clean, id=f"a-{said}")


def _begun(experiment: str, came: TraceSpans) -> Trace:
    fresh = Trace(came.trace, experiment, _bounds(came.spans)[0], state="in_progress")
    return msgspec.structs.replace(fresh, **_grown(fresh, came))


def _bounds(spans: Sequence[Span]) -> tuple[int, int | None]:
    ends = [span.ended_ns for span in spans if span.ended_ns is not None]
    return min(span.started_ns for span in spans) // _MS, max(ends) // _MS if ends else None


def _grown(trace: Trace, came: TraceSpans) -> dict[str, Any]:
    """Give what changes of a trace by spans that came."""
    changed: dict[str, Any] = {} if trace.has_spans else {"has_spans": True}
    if trace.state in _UNDECIDED and (state := _state(came.spans)) is not None:
        changed["state"] = state
    for name in ("request", "response"):
        told = getattr(came, name)
        if getattr(trace, name) is None and told is not None:
            changed[name] = preview(told)
    if trace.complete:
        return changed
    start, end = _bounds(came.spans)
    ends = [end] if end is not None else []
    if trace.duration_ms is not None:
        ends.append(trace.started_ms + trace.duration_ms)
    started = min(start, trace.started_ms)
    changed |= {"started_ms": started} | ({"duration_ms": max(ends) - started} if ends else {})
    return {name: value for name, value in changed.items() if getattr(trace, name) != value}


def _state(spans: Sequence[Span]) -> TraceState | None:
    for span in spans:
        if span.parent is None and span.ended_ns is not None:
            return "error" if span.status == "error" else "ok"
    return None
