"""``datasets/...``: MLflow's evaluation datasets over ours."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.datasets.evaluation.model import EvaluationDataset
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import milliseconds
from mainspring.protocols.mlflow.record_wire import records_read, records_told

calls = CallList("/3.0/mlflow")

_SCHEMA_VERSION = "1.0"


class DatasetWire(msgspec.Struct, frozen=True):
    """A dataset on the wire: tags, schema and profile are texts of JSON."""

    dataset_id: str
    name: str
    tags: str
    digest: str
    created_time: int
    last_update_time: int
    schema: str | UnsetType = UNSET
    profile: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    last_updated_by: str | UnsetType = UNSET
    experiment_ids: list[str] | UnsetType = UNSET


class DatasetAnswer(msgspec.Struct, frozen=True):
    """One dataset."""

    dataset: DatasetWire


class Create(msgspec.Struct):
    """What a new dataset is called, which experiments it is for, and its tags as a text of JSON."""

    name: str
    experiment_ids: list[str] = []
    tags: str | None = None


class ById(msgspec.Struct):
    """Which dataset is meant."""

    dataset_id: str


class Search(msgspec.Struct):
    """Which datasets are looked for, in which order."""

    experiment_ids: list[str] = []
    filter_string: str | None = None
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str | None = None


class DatasetPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Datasets that were found."""

    datasets: list[DatasetWire] = []
    next_page_token: str | None = None


class SetTags(msgspec.Struct):
    """Tags of a dataset, as a text of JSON."""

    dataset_id: str
    tags: str


class DeleteTag(msgspec.Struct):
    """Which tag of a dataset goes."""

    dataset_id: str
    key: str


class Upsert(msgspec.Struct):
    """Records to merge, as a text of JSON."""

    dataset_id: str
    records: str


class Upserted(msgspec.Struct, frozen=True):
    """How many records came, and how many there were already."""

    inserted_count: int
    updated_count: int


class GetRecords(msgspec.Struct):
    """Which page of a dataset's records is asked for."""

    dataset_id: str
    max_results: int | None = None
    page_token: str | None = None


class Records(msgspec.Struct, frozen=True, omit_defaults=True):
    """Records, as a text of JSON."""

    records: str
    next_page_token: str | None = None


class DeleteRecords(msgspec.Struct):
    """Which records of a dataset go."""

    dataset_id: str
    dataset_record_ids: list[str] = []


class Deleted(msgspec.Struct, frozen=True):
    """How many records went."""

    deleted_count: int


class OfExperiments(msgspec.Struct):
    """A dataset, and experiments that it is for or is not for any longer."""

    dataset_id: str
    experiment_ids: list[str] = []


class ExperimentIds(msgspec.Struct, frozen=True):
    """Which experiments a dataset is for."""

    experiment_ids: list[str]


@calls.on("POST", "datasets/create")
def create(services: Services, ask: Create) -> DatasetAnswer:
    """Create a dataset."""
    tags = _tags(ask.tags) if ask.tags else {}
    fresh = services.evaluation_datasets.create(ask.name, ask.experiment_ids, tags)
    return DatasetAnswer(_told(fresh, ask.experiment_ids))


@calls.on("POST GET", "datasets/search")
def search(services: Services, ask: Search) -> DatasetPage:
    """Find datasets."""
    page = services.evaluation_datasets.search(
        ask.filter_string or "", ask.experiment_ids, ask.order_by, ask.max_results or 1000, ask.page_token
    )
    return DatasetPage([_told(one) for one in page.datasets], page.next_page)


@calls.on("GET", "datasets/{dataset_id}")
def get(services: Services, ask: ById) -> DatasetAnswer:
    """Get a dataset."""
    return DatasetAnswer(_told(services.evaluation_datasets.get(ask.dataset_id)))


@calls.on("DELETE", "datasets/{dataset_id}")
def delete(services: Services, ask: ById) -> Empty:
    """Delete a dataset; one that is not there is deleted already."""
    with suppress(NotFound):
        services.evaluation_datasets.delete(ask.dataset_id)
    return Empty()


@calls.on("PATCH", "datasets/{dataset_id}/tags")
def set_tags(services: Services, ask: SetTags) -> Empty:
    """Set tags of a dataset."""
    services.evaluation_datasets.set_tags(ask.dataset_id, _tags(ask.tags))
    return Empty()


@calls.on("DELETE", "datasets/{dataset_id}/tags/{key:path}")
def delete_tag(services: Services, ask: DeleteTag) -> Empty:
    """Remove a tag of a dataset; one that is not there is removed already."""
    with suppress(NotFound):
        services.evaluation_datasets.delete_tag(ask.dataset_id, ask.key)
    return Empty()


@calls.on("POST", "datasets/{dataset_id}/records")
def upsert_records(services: Services, ask: Upsert) -> Upserted:
    """Add records, or merge them into those of the same inputs."""
    done = services.evaluation_datasets.merge(ask.dataset_id, records_read(ask.records))
    return Upserted(done.inserted, done.updated)


@calls.on("GET", "datasets/{dataset_id}/records")
def get_records(services: Services, ask: GetRecords) -> Records:
    """List records of a dataset."""
    page = services.evaluation_datasets.records(
        ask.dataset_id, limit=ask.max_results or 1000, page=ask.page_token or None
    )
    return Records(records_told(page.records), page.next_page)


@calls.on("DELETE", "datasets/{dataset_id}/records")
def delete_records(services: Services, ask: DeleteRecords) -> Deleted:
    """Remove records of a dataset."""
    return Deleted(services.evaluation_datasets.remove(ask.dataset_id, ask.dataset_record_ids).records)


@calls.on("GET", "datasets/{dataset_id}/experiment-ids")
def experiment_ids(services: Services, ask: ById) -> ExperimentIds:
    """List the experiments that a dataset is for."""
    return ExperimentIds(services.evaluation_datasets.experiments(ask.dataset_id))


@calls.on("POST", "datasets/{dataset_id}/add-experiments")
def add_experiments(services: Services, ask: OfExperiments) -> DatasetAnswer:
    """Say that a dataset is for more experiments."""
    return DatasetAnswer(_told(services.evaluation_datasets.add_experiments(ask.dataset_id, ask.experiment_ids)))


@calls.on("POST", "datasets/{dataset_id}/remove-experiments")
def remove_experiments(services: Services, ask: OfExperiments) -> DatasetAnswer:
    """Say that a dataset is not for these experiments any longer."""
    return DatasetAnswer(_told(services.evaluation_datasets.remove_experiments(ask.dataset_id, ask.experiment_ids)))


def _told(dataset: EvaluationDataset, experiments: list[str] | None = None) -> DatasetWire:
    fields = dataset.fields
    schema = None if fields is None else {**msgspec.structs.asdict(fields), "version": _SCHEMA_VERSION}
    return DatasetWire(
        dataset_id=dataset.id,
        name=dataset.name,
        tags=_text(dataset.tags),
        digest=dataset.digest,
        created_time=milliseconds(dataset.created),
        last_update_time=milliseconds(dataset.updated),
        schema=UNSET if schema is None else _text(schema),
        profile=_text({"num_records": dataset.records}) if dataset.records else UNSET,
        created_by=dataset.created_by or UNSET,
        last_updated_by=dataset.updated_by or UNSET,
        experiment_ids=experiments or UNSET,
    )


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _tags(text: str) -> dict[str, str]:
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidRequest(f"Invalid value for parameter 'tags': expected a JSON object: {error}") from None
    return {key: value if isinstance(value, str) else str(value) for key, value in found.items() if value is not None}
