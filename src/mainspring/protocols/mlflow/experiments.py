"""``experiments/...``: MLflow's experiments over ours."""

from __future__ import annotations

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import KeyValue, lifecycle_of, milliseconds, pairs, stage, texts
from mainspring.tracking.model import Experiment

MAX_NAME_CHARS = 500
MAX_LOCATION_CHARS = 2048
MAX_TAG_KEY_CHARS, MAX_TAG_CHARS = 250, 20_000

calls = CallList()


class ExperimentEntity(msgspec.Struct, omit_defaults=True):
    """An experiment on the wire."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int
    creation_time: int
    tags: list[KeyValue] = []


class ExperimentAnswer(msgspec.Struct):
    """One experiment."""

    experiment: ExperimentEntity


class CreateExperiment(msgspec.Struct):
    """What a new experiment is called, and where its artifacts go if not here."""

    name: str
    artifact_location: str | None = None
    tags: list[KeyValue] | None = None


class Created(msgspec.Struct):
    """The id of what was created."""

    experiment_id: str


class ById(msgspec.Struct):
    """Which experiment is meant."""

    experiment_id: str


class GetByName(msgspec.Struct):
    """Which experiment is asked for."""

    experiment_name: str


class UpdateExperiment(msgspec.Struct):
    """The other name of an experiment."""

    experiment_id: str
    new_name: str


class SetTag(msgspec.Struct):
    """A tag of an experiment."""

    experiment_id: str
    key: str
    value: str = ""


class DeleteTag(msgspec.Struct):
    """Which tag of an experiment goes."""

    experiment_id: str
    key: str


class SearchExperiments(msgspec.Struct):
    """Which experiments are asked for, in which order."""

    max_results: int | None = None
    page_token: str | None = None
    filter: str | None = None
    order_by: list[str] | None = None
    view_type: str | int | None = None


class ExperimentPage(msgspec.Struct, omit_defaults=True):
    """Experiments that were found."""

    experiments: list[ExperimentEntity] = []
    next_page_token: str | None = None


@calls.on("POST", "experiments/create")
def create(services: Services, ask: CreateExperiment) -> Created:
    """Create an experiment."""
    location = ask.artifact_location or None
    if location is not None:
        _check_location(location)
    return Created(services.tracking.experiments.create(ask.name, texts(ask.tags), location).id)


@calls.on("GET", "experiments/get")
def get(services: Services, ask: ById) -> ExperimentAnswer:
    """Get an experiment by its id, deleted or not."""
    return ExperimentAnswer(entity(services.tracking.experiments.get(ask.experiment_id or "0")))


@calls.on("GET", "experiments/get-by-name")
def get_by_name(services: Services, ask: GetByName) -> ExperimentAnswer:
    """Get an experiment by its name, deleted or not."""
    return ExperimentAnswer(entity(services.tracking.experiments.get_by_name(ask.experiment_name)))


@calls.on("POST GET", "experiments/search")
def search(services: Services, ask: SearchExperiments) -> ExperimentPage:
    """Find experiments."""
    if ask.max_results is None or not 1 <= ask.max_results <= 50_000:
        raise InvalidRequest(
            f"Invalid value {ask.max_results} for parameter 'max_results' supplied: expected 1 to 50000"
        )
    found, next_page = services.tracking.experiments.search(
        ask.filter or "", ask.order_by, lifecycle_of(ask.view_type), ask.max_results, ask.page_token or None
    )
    return ExperimentPage([entity(experiment) for experiment in found], next_page)


@calls.on("POST", "experiments/update")
def update(services: Services, ask: UpdateExperiment) -> Empty:
    """Give an experiment another name."""
    services.tracking.experiments.rename(ask.experiment_id, ask.new_name)
    return Empty()


@calls.on("POST", "experiments/delete")
def delete(services: Services, ask: ById) -> Empty:
    """Delete an experiment and its runs."""
    services.tracking.experiments.delete(ask.experiment_id)
    return Empty()


@calls.on("POST", "experiments/restore")
def restore(services: Services, ask: ById) -> Empty:
    """Restore an experiment and the runs that were deleted with it."""
    services.tracking.experiments.restore(ask.experiment_id)
    return Empty()


@calls.on("POST", "experiments/set-experiment-tag")
def set_tag(services: Services, ask: SetTag) -> Empty:
    """Set a tag of an experiment."""
    services.tracking.experiments.set_tag(ask.experiment_id, ask.key, ask.value)
    return Empty()


@calls.on("POST", "experiments/delete-experiment-tag")
def delete_tag(services: Services, ask: DeleteTag) -> Empty:
    """Remove a tag of an experiment."""
    services.tracking.experiments.delete_tag(ask.experiment_id, ask.key)
    return Empty()


def entity(experiment: Experiment) -> ExperimentEntity:
    """Give an experiment as it is told to clients."""
    return ExperimentEntity(
        experiment.id,
        experiment.name,
        experiment.artifact_uri,
        stage(experiment.deleted),
        milliseconds(experiment.updated or experiment.created),
        milliseconds(experiment.created),
        pairs(experiment.tags),
    )


def _check_location(location: str) -> None:
    if len(location) > MAX_LOCATION_CHARS:
        raise InvalidRequest(
            f"Invalid artifact path length: {len(location)} characters, at most {MAX_LOCATION_CHARS} are kept"
        )
    if any(sign in location for sign in "?#") or ".." in location.replace("\\", "/").split("/"):
        raise InvalidRequest(f"Invalid artifact_location: {location!r} must have no query, no fragment and no '..'")
