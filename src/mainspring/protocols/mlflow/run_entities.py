"""Runs on the wire. None of these refers to itself, so the garbage collector need not look at tens of thousands."""

from __future__ import annotations

from collections.abc import Container

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.refs import Ref
from mainspring.protocols.mlflow.entities import KeyValue, milliseconds, pairs, stage
from mainspring.tracking.model import (
    DatasetInput,
    ForeignDataset,
    Metric,
    ModelLink,
    Run,
    RunDetails,
    RunStatus,
    artifact_uri,
)
from mainspring.tracking.search.rows import RunRow, RunRows

RUN_NAME, PARENT, USER, COMMIT = "mlflow.runName", "mlflow.parentRunId", "mlflow.user", "mlflow.source.git.commit"
CONTEXT = "mlflow.data.context"
"""Tags that say what is known of a run, or of the reading of a dataset, in fields of its own."""

_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_NUMBERS: dict[str, RunStatus] = {"1": "running", "2": "scheduled", "3": "finished", "4": "failed", "5": "killed"}


class MetricEntity(msgspec.Struct, gc=False):
    """A measured value."""

    key: str
    value: float | str
    timestamp: int
    step: int


class RunInfo(msgspec.Struct, omit_defaults=True, gc=False):
    """What a run is."""

    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    user_id: str
    end_time: int | None = None


class RunData(msgspec.Struct, omit_defaults=True, gc=False):
    """What a run set and measured."""

    metrics: list[MetricEntity] = []
    params: list[KeyValue] = []
    tags: list[KeyValue] = []


class Dataset(msgspec.Struct, omit_defaults=True, gc=False):
    """A dataset as its reader describes it."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class DatasetReading(msgspec.Struct, omit_defaults=True, gc=False):
    """A dataset that was read, with tags of the reading."""

    dataset: Dataset
    tags: list[KeyValue] = []


class ModelReading(msgspec.Struct, gc=False):
    """A model that was read."""

    model_id: str


class ModelMaking(msgspec.Struct, gc=False):
    """A model that was made."""

    model_id: str
    step: int = 0


class Inputs(msgspec.Struct, omit_defaults=True, gc=False):
    """What a run read."""

    dataset_inputs: list[DatasetReading] = []
    model_inputs: list[ModelReading] = []


class Outputs(msgspec.Struct, omit_defaults=True, gc=False):
    """What a run made."""

    model_outputs: list[ModelMaking] = []


class RunEntity(msgspec.Struct, omit_defaults=True, gc=False):
    """A run with what belongs to it."""

    info: RunInfo
    data: RunData
    inputs: Inputs = msgspec.field(default_factory=Inputs)
    outputs: Outputs | None = None


def run_entity(details: RunDetails) -> RunEntity:
    """Give a run as it is told to clients."""
    data = RunData(
        [metric_entity(metric) for metric in details.metrics.values()],
        pairs(details.params),
        pairs(_own_tags(details.run) | details.tags),
    )
    readings = [_own_reading(used) for used in details.inputs] + [reading(used) for used in details.foreign_inputs]
    return RunEntity(
        run_info(details.run),
        data,
        Inputs(readings, [ModelReading(link.model) for link in details.models_read]),
        Outputs([_making(link) for link in details.models_made]) if details.models_made else None,
    )


def run_entities(rows: RunRows) -> list[RunEntity]:
    """Give runs as they are told to clients: as `run_entity` does, from rows, of which a page has tens of thousands."""
    return [_entity(rows, row) for row in rows.runs]


def _entity(rows: RunRows, row: RunRow) -> RunEntity:
    id = row.id
    tags = rows.tags.get(id, ())
    made = rows.models_made.get(id)
    data = RunData(
        [
            MetricEntity(key, value if isinstance(value, float) else number(value), at_us // 1000, step)
            for _, key, value, step, at_us in rows.metrics.get(id, ())
        ],
        [KeyValue(key, value) for _, key, value in rows.params.get(id, ())],
        _untold(row, {key for _, key, _ in tags}) + [KeyValue(key, value) for _, key, value in tags],
    )
    readings = [_own_reading(used) for used in rows.inputs.get(id, ())]
    readings += [reading(used) for used in rows.foreign_inputs.get(id, ())]
    return RunEntity(
        _info(row),
        data,
        Inputs(readings, [ModelReading(link.model) for link in rows.models_read.get(id, ())]),
        Outputs([_making(link) for link in made]) if made else None,
    )


def _info(row: RunRow) -> RunInfo:
    return RunInfo(
        row.id,
        row.id,
        row.name,
        row.experiment_id,
        row.status.upper(),
        row.started_us // 1000,
        artifact_uri(row.id, row.experiment_id, row.location),
        "active" if row.deleted_us is None else "deleted",
        row.user or "",
        None if row.ended_us is None else row.ended_us // 1000,
    )


def _untold(row: RunRow, told: Container[str]) -> list[KeyValue]:
    """Give as tags what is known of a run in fields of its own, but for those that it has as tags too."""
    known = ((RUN_NAME, row.name), (PARENT, row.parent), (COMMIT, row.commit))
    return [KeyValue(key, value) for key, value in known if value and key not in told]


def run_info(run: Run) -> RunInfo:
    """Give what a run is, as it is told to clients."""
    return RunInfo(
        run.id,
        run.id,
        run.name,
        run.experiment_id,
        run.status.upper(),
        milliseconds(run.started),
        run.artifact_uri,
        stage(run.deleted),
        run.user or "",
        None if run.ended is None else milliseconds(run.ended),
    )


def metric_entity(metric: Metric) -> MetricEntity:
    """Give a measured value as it is told to clients."""
    return MetricEntity(metric.key, number(metric.value), (metric.at_us or 0) // 1000, metric.step)


def number(value: float | str) -> float | str:
    """Give a number as proto3's JSON has it, where what is not finite is a word."""
    return value if isinstance(value, float) else _NOT_FINITE.get(value, value)


def status_of(value: str | int) -> RunStatus:
    """Read the status of a run, by its name or number."""
    text = str(value)
    if text in _NUMBERS:
        return _NUMBERS[text]
    for status in _NUMBERS.values():
        if status.upper() == text:
            return status
    raise InvalidRequest(f"Invalid value {value!r} for parameter 'status': expected RUNNING, FINISHED, FAILED ...")


def reading(used: ForeignDataset) -> DatasetReading:
    """Give a dataset of elsewhere that was read."""
    context = {} if used.context is None else {CONTEXT: used.context}
    described = Dataset(used.name, used.digest, used.source_type, used.source, used.schema, used.profile)
    return DatasetReading(described, pairs(used.tags | context))


def _own_reading(used: DatasetInput) -> DatasetReading:
    version = Ref.parse(used.dataset)
    source = msgspec.json.encode({"ref": used.dataset}).decode()
    dataset = Dataset(version.name, f"v{version.version}", "mainspring", source)
    return DatasetReading(dataset, [KeyValue(CONTEXT, used.context)])


def _making(link: ModelLink) -> ModelMaking:
    return ModelMaking(link.model, link.step)


def _own_tags(run: Run) -> dict[str, str]:
    known = {RUN_NAME: run.name, PARENT: run.parent, COMMIT: run.commit}
    return {key: value for key, value in known.items() if value}
