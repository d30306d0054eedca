"""The rows of runs that were found: one query for each kind of what belongs to them, however many runs there are.

A page of 1,000 runs has ten thousand such rows and more, so they come from the driver as they are; who tells them to a
client makes of each what that client is told, and nothing in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

import msgspec

from mainspring.storage.sql.database import Transaction
from mainspring.storage.sql.schema import instant
from mainspring.storage.sql.statements import Statement, listed
from mainspring.tracking import store
from mainspring.tracking.metrics.columns import portables
from mainspring.tracking.model import (
    DatasetInput,
    ForeignDataset,
    Metric,
    ModelLink,
    NotFinite,
    Run,
    RunDetails,
    RunPart,
    RunStatus,
)

AnyRow = TypeVar("AnyRow", bound=tuple[Any, ...])

EVERYTHING: tuple[RunPart, ...] = ("params", "metrics", "tags", "inputs")

TextRow = tuple[str, str, str]
"""The run, the key and the value of a param or a tag."""

MetricRow = tuple[str, str, float | NotFinite, int, int]
"""The run and the key of a metric, and the value, the step and the time (in microseconds) of its latest point."""

_TAGS = msgspec.json.Decoder(dict[str, str])


class RunRow(NamedTuple):
    """A run as it is stored, with what it takes from its experiment; times are microseconds since 1970 UTC."""

    id: str
    name: str
    experiment: str
    status: RunStatus
    started_us: int
    ended_us: int | None
    parent: str | None
    commit: str | None
    branch: str | None
    dirty: bool
    user: str | None
    deleted_us: int | None
    experiment_id: str
    location: str | None


class RunRows(NamedTuple):
    """Runs, and what belongs to each of them, by its id; those of which nothing is known of a kind are left out."""

    runs: list[RunRow]
    params: dict[str, list[TextRow]]
    metrics: dict[str, list[MetricRow]]
    tags: dict[str, list[TextRow]]
    inputs: dict[str, list[DatasetInput]]
    foreign_inputs: dict[str, list[ForeignDataset]]
    models_read: dict[str, list[ModelLink]]
    models_made: dict[str, list[ModelLink]]


def _of_runs(sql: str) -> Statement:
    """Give the statement for both dialects, with ``{}`` for that a run is among those asked for."""
    return Statement(sql.format("IN (SELECT value FROM json_each(?))"), postgresql=sql.format("= ANY(?)"))


_RUNS = _of_runs("""
    SELECT r.id, r.name, e.name, r.status, r.started, r.ended, r.parent, r."commit", r.branch, r.dirty, r."user",
        r.deleted, r.experiment, e.location
    FROM runs r JOIN experiments e ON e.id = r.experiment WHERE r.id {} AND coalesce(r.deleted, 1) <> 0""")
_METRICS = _of_runs("SELECT run, key, step, at_us, value FROM metric_series WHERE run {} ORDER BY run, key")
_PARAMS = _of_runs("SELECT run, key, value FROM run_params WHERE run {} ORDER BY run, key")
_RUN_TAGS = _of_runs("SELECT run, key, value FROM run_tags WHERE run {} ORDER BY run, key")
_INPUTS = _of_runs("SELECT run, dataset, context FROM run_inputs WHERE run {} ORDER BY run, dataset, context")
_FOREIGN = _of_runs("""
    SELECT u.run, d.name, d.digest, d.source_type, d.source, d."schema", d.profile, u.context, u.tags
    FROM run_foreign_inputs u JOIN foreign_datasets d ON d.id = u.dataset WHERE u.run {}
    ORDER BY u.run, d.name, d.digest""")
_MODELS = _of_runs("SELECT run, made, model, step FROM run_models WHERE run {} ORDER BY run, step, model")


def read_rows(connection: Transaction, ids: Sequence[str], include: Collection[RunPart] = EVERYTHING) -> RunRows:
    """Read runs, in the order of their *ids*, and those parts of them that are asked for; unknown ids are left out."""
    found = {row[0]: RunRow._make(row) for row in _RUNS.rows(connection, [listed(connection, ids)])}
    runs = [found[id] for id in ids if id in found]
    asked = [listed(connection, ids)] if runs else None

    def rows(part: RunPart, statement: Statement) -> list[tuple[Any, ...]]:
        return statement.rows(connection, asked) if asked is not None and part in include else []

    models = rows("inputs", _MODELS)
    return RunRows(
        runs,
        _by_run(rows("params", _PARAMS)),
        _by_run(_measured(rows("metrics", _METRICS))),
        _by_run(rows("tags", _RUN_TAGS)),
        _made_by_run(rows("inputs", _INPUTS), lambda row: DatasetInput(row[1], row[2])),
        _made_by_run(rows("inputs", _FOREIGN), _foreign),
        _made_by_run([row for row in models if not row[1]], lambda row: ModelLink(row[2], row[3])),
        _made_by_run([row for row in models if row[1]], lambda row: ModelLink(row[2], row[3])),
    )


def read_run(connection: Transaction, run: str) -> RunRows:
    """Read one run with everything; raises NotFound."""
    rows = read_rows(connection, [run])
    if not rows.runs:
        store.require_run(connection, run)
    return rows


def details_of(rows: RunRows) -> list[RunDetails]:
    """Give runs with what belongs to them."""
    return [
        RunDetails(
            run_of(row),
            {key: value for _, key, value in rows.params.get(row.id, ())},
            {key: Metric(key, value, step, at_us) for _, key, value, step, at_us in rows.metrics.get(row.id, ())},
            {key: value for _, key, value in rows.tags.get(row.id, ())},
            rows.inputs.get(row.id, []),
            rows.foreign_inputs.get(row.id, []),
            rows.models_read.get(row.id, []),
            rows.models_made.get(row.id, []),
        )
        for row in rows.runs
    ]


def run_of(row: RunRow) -> Run:
    """Give a run."""
    return Run(
        row.id, row.name, row.experiment, row.status, instant(row.started_us), _instant(row.ended_us), row.parent,
        row.commit, row.branch, bool(row.dirty), row.user, _instant(row.deleted_us), row.experiment_id, row.location,
    )  # fmt: skip


def _instant(value_us: int | None) -> datetime | None:
    return None if value_us is None else instant(value_us)


def _foreign(row: tuple[Any, ...]) -> ForeignDataset:
    _, name, digest, source_type, source, schema, profile, context, tags = row
    return ForeignDataset(name, digest, source_type, source, schema, profile, context, _TAGS.decode(tags))


def _measured(rows: list[tuple[Any, ...]]) -> list[MetricRow]:
    values = portables([row[4] for row in rows])
    return [(run, key, value, step, at_us) for (run, key, step, at_us, _), value in zip(rows, values, strict=True)]


def _by_run(rows: Iterable[AnyRow]) -> dict[str, list[AnyRow]]:
    return {run: list(own) for run, own in groupby(rows, itemgetter(0))}


def _made_by_run(rows: Iterable[tuple[Any, ...]], make: Any) -> dict[str, list[Any]]:
    return {run: list(map(make, own)) for run, own in _by_run(rows).items()}
