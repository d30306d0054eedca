"""What runs read and made: ``runs/log-inputs``, ``runs/outputs``, ``runs/log-model``, datasets of experiments."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.datasets.evaluation.model import dataset_ref
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import texts
from mainspring.protocols.mlflow.run_entities import CONTEXT, Dataset, DatasetReading, ModelMaking, ModelReading
from mainspring.tracking.model import ForeignDataset, ModelLink

MAX_NAME_CHARS, MAX_DIGEST_CHARS, MAX_SOURCE_CHARS = 500, 36, 65_535
MAX_SCHEMA_CHARS, MAX_PROFILE_CHARS = 1_048_575, 16_777_215
MAX_TAG_KEY_CHARS, MAX_TAG_CHARS = 255, 500
MAX_EXPERIMENTS = 20
MODELS_TAG = "mlflow.log-model.history"
_EVALUATION = "mlflow_evaluation_dataset"
_OF_A_MODEL = ("artifact_path", "flavors", "utc_time_created", "run_id")

calls = CallList()


class LogInputs(msgspec.Struct):
    """Datasets and models that a run read."""

    run_id: str
    datasets: list[DatasetReading] | None = None
    models: list[ModelReading] | None = None


class LogOutputs(msgspec.Struct):
    """Models that a run made."""

    run_id: str
    models: list[ModelMaking]


class LogModel(msgspec.Struct):
    """A model as clients before version 3 describe it."""

    run_id: str
    model_json: str


class SearchDatasets(msgspec.Struct):
    """Whose datasets are asked for."""

    experiment_ids: list[str] = []


class _Source(msgspec.Struct):
    dataset_id: str


class DatasetSummary(msgspec.Struct, omit_defaults=True):
    """A dataset that runs of an experiment read, and what for."""

    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class DatasetSummaries(msgspec.Struct, omit_defaults=True):
    """Datasets that were found."""

    dataset_summaries: list[DatasetSummary] = []


@calls.on("POST", "runs/log-inputs")
def log_inputs(services: Services, ask: LogInputs) -> Empty:
    """Note what a run reads."""
    datasets = {
        (one.name, one.digest): one for one in reversed([_foreign(services, read) for read in ask.datasets or []])
    }
    models = [model.model_id for model in ask.models or []]
    services.tracking.lifecycle.log_inputs(ask.run_id, list(datasets.values()), models)
    return Empty()


@calls.on("POST", "runs/outputs")
def log_outputs(services: Services, ask: LogOutputs) -> Empty:
    """Note what a run made."""
    services.tracking.lifecycle.log_outputs(ask.run_id, [ModelLink(made.model_id, made.step) for made in ask.models])
    return Empty()


@calls.on("POST", "runs/log-model")
def log_model(services: Services, ask: LogModel) -> Empty:
    """Add a model to the list that old clients keep in a tag of the run."""
    try:
        model = msgspec.json.decode(ask.model_json, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"Malformed model info: it is not a valid JSON object: {error}") from None
    missing = [name for name in _OF_A_MODEL if name not in model]
    if missing:
        raise InvalidRequest(f"Model json is missing mandatory fields: {', '.join(missing)}")
    services.tracking.lifecycle.extend_tag(ask.run_id, MODELS_TAG, model)
    return Empty()


@calls.on("POST", "experiments/search-datasets")
def search_datasets(services: Services, ask: SearchDatasets) -> DatasetSummaries:
    """List the datasets that runs of some experiments read."""
    if not ask.experiment_ids:
        raise InvalidRequest("SearchDatasets request must specify at least one experiment_id.")
    if len(ask.experiment_ids) > MAX_EXPERIMENTS:
        raise InvalidRequest(
            f"SearchDatasets request cannot specify more than {MAX_EXPERIMENTS} experiment_ids. "
            f"Received {len(ask.experiment_ids)} experiment_ids."
        )
    found = services.tracking.lifecycle.datasets(ask.experiment_ids)
    return DatasetSummaries([DatasetSummary(*summary) for summary in found])


def _foreign(services: Services, reading: DatasetReading) -> ForeignDataset:
    dataset, tags = reading.dataset, texts(reading.tags)
    _check(dataset)
    for key, value in tags.items():
        _at_most("key", key, MAX_TAG_KEY_CHARS)
        _at_most("value", value, MAX_TAG_CHARS)
    context = tags.pop(CONTEXT, None)
    return ForeignDataset(
        dataset.name, dataset.digest, dataset.source_type, dataset.source, dataset.schema, dataset.profile,
        context, tags, _ref(services, dataset),
    )  # fmt: skip


def _ref(services: Services, dataset: Dataset) -> str | None:
    """Give the ref of an evaluation dataset that is kept here, in the version that was read; None for any other."""
    if dataset.source_type != _EVALUATION:
        return None
    with suppress(msgspec.MsgspecError, NotFound):
        found = services.evaluation_datasets.get(msgspec.json.decode(dataset.source, type=_Source).dataset_id)
        # A client that has just merged records still names the digest of before.
        return dataset_ref(
            found.id, services.evaluation_datasets.version_with(found.id, dataset.digest) or found.version
        )
    return None


def _check(dataset: Dataset) -> None:
    if not dataset.name or not dataset.digest:
        raise InvalidRequest("Dataset name and digest cannot be empty")
    _at_most("name", dataset.name, MAX_NAME_CHARS)
    _at_most("digest", dataset.digest, MAX_DIGEST_CHARS)
    _at_most("source", dataset.source, MAX_SOURCE_CHARS)
    _at_most("schema", dataset.schema or "", MAX_SCHEMA_CHARS)
    _at_most("profile", dataset.profile or "", MAX_PROFILE_CHARS)


def _at_most(name: str, value: str, most: int) -> None:
    if len(value) > most:
        raise InvalidRequest(f"{name!r} exceeds the maximum length of {most} characters")
    if "\0" in value:
        raise InvalidRequest(f"{name!r} holds a NUL character, which cannot be stored")
