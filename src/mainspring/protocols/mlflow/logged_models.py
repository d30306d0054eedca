"""``logged-models/...``: models that runs leave behind, before they have a name in the registry."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any, NoReturn

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import parse_filter
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import KeyValue, milliseconds, pairs
from mainspring.protocols.mlflow.registry_entities import plain, plain_texts
from mainspring.protocols.mlflow.version_sources import location_of
from mainspring.registry.logged.model import LoggedMetric, LoggedModel, LoggedStatus, MetricOrder, OnDataset
from mainspring.tracking.model import Experiment

DEFAULT_PAGE, MAX_PAGE = 100, 1_000

calls = CallList()

_STATUS: dict[LoggedStatus, str] = {
    "pending": "LOGGED_MODEL_PENDING",
    "ready": "LOGGED_MODEL_READY",
    "failed": "LOGGED_MODEL_UPLOAD_FAILED",
}
_BY_WORD: dict[str, LoggedStatus] = {
    **{word: status for status, word in _STATUS.items()},
    "1": "pending",
    "2": "ready",
    "3": "failed",
}
_ENTITIES = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr"), "attribute"),
}


class LoggedMetricEntity(msgspec.Struct, omit_defaults=True):
    """A value that was measured of a model."""

    key: str
    value: float | str
    timestamp: int
    step: int
    model_id: str
    run_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class InfoEntity(msgspec.Struct, omit_defaults=True):
    """What a logged model is."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str = ""
    source_run_id: str = ""
    tags: list[KeyValue] = []


class DataEntity(msgspec.Struct, omit_defaults=True):
    """How a logged model was made, and how good it is."""

    params: list[KeyValue] = []
    metrics: list[LoggedMetricEntity] = []


class LoggedEntity(msgspec.Struct):
    """A logged model on the wire."""

    info: InfoEntity
    data: DataEntity


class LoggedAnswer(msgspec.Struct):
    """One logged model."""

    model: LoggedEntity


class LoggedPage(msgspec.Struct, omit_defaults=True):
    """A page of logged models."""

    models: list[LoggedEntity] = []
    next_page_token: str = ""


class CreateLogged(msgspec.Struct):
    """A model that is about to be logged."""

    experiment_id: str
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[KeyValue] = []
    tags: list[KeyValue] = []


class GetLogged(msgspec.Struct):
    """Which logged model is asked for."""

    model_id: str
    allow_deleted: bool = False


class ById(msgspec.Struct):
    """Which logged model is meant."""

    model_id: str


class Finalize(msgspec.Struct):
    """How the logging of a model ended."""

    model_id: str
    status: str | int


class SetTags(msgspec.Struct):
    """Tags of a logged model."""

    model_id: str
    tags: list[KeyValue] = []


class DeleteTag(msgspec.Struct):
    """Which tag of a logged model goes."""

    model_id: str
    tag_key: str


class LogParams(msgspec.Struct):
    """Params of a logged model."""

    model_id: str
    params: list[KeyValue] = []


class DatasetAsk(msgspec.Struct):
    """A dataset on which metrics count."""

    dataset_name: str = ""
    dataset_digest: str = ""


class OrderAsk(msgspec.Struct, omit_defaults=True):
    """A field to sort by."""

    field_name: str
    ascending: bool = True
    dataset_name: str = ""
    dataset_digest: str = ""


class SearchLogged(msgspec.Struct):
    """Which logged models are asked for."""

    experiment_ids: list[str] = []
    filter: str = ""
    datasets: list[DatasetAsk] = []
    max_results: int | None = None
    order_by: list[OrderAsk] = []
    page_token: str = ""


class _Token(msgspec.Struct):
    """Where a page begins, and of which search it is."""

    experiment_ids: list[str]
    filter_string: str
    order_by: list[OrderAsk]
    offset: int


@calls.on("POST", "logged-models")
def create(services: Services, ask: CreateLogged) -> LoggedAnswer:
    """Begin a logged model."""
    experiment = services.tracking.experiments.get(ask.experiment_id)
    if experiment.deleted is not None:
        raise InvalidRequest(f"The experiment {experiment.id} must be in the 'active' state. Current state is deleted.")
    made = services.logged_models.create(
        experiment.id,
        plain(ask.name or "") or None,
        model_type=plain(ask.model_type or "") or None,
        run=plain(ask.source_run_id or "") or None,
        params=plain_texts(ask.params),
        tags=plain_texts(ask.tags),
    )
    return _told(services, made)


@calls.on("GET", "logged-models/{model_id}")
def get(services: Services, ask: GetLogged) -> LoggedAnswer:
    """Get a logged model."""
    return _told(services, services.logged_models.get(ask.model_id, deleted=ask.allow_deleted))


@calls.on("PATCH", "logged-models/{model_id}")
def finalize(services: Services, ask: Finalize) -> LoggedAnswer:
    """Say that a logged model is complete, or could not be logged."""
    status = _BY_WORD.get(str(ask.status))
    if status is None:
        raise InvalidRequest(f"Invalid value {ask.status!r} for status: expected one of {', '.join(_STATUS.values())}")
    return _told(services, services.logged_models.set_status(ask.model_id, status))


@calls.on("DELETE", "logged-models/{model_id}")
def delete(services: Services, ask: ById) -> Empty:
    """Delete a logged model."""
    services.logged_models.delete(ask.model_id)
    return Empty()


@calls.on("PATCH", "logged-models/{model_id}/tags")
def set_tags(services: Services, ask: SetTags) -> LoggedAnswer:
    """Set tags of a logged model."""
    return _told(services, services.logged_models.set_tags(ask.model_id, plain_texts(ask.tags)))


@calls.on("DELETE", "logged-models/{model_id}/tags/{tag_key:path}")
def delete_tag(services: Services, ask: DeleteTag) -> Empty:
    """Remove a tag of a logged model."""
    services.logged_models.delete_tag(ask.model_id, ask.tag_key)
    return Empty()


@calls.on("POST", "logged-models/{model_id}/params")
def log_params(services: Services, ask: LogParams) -> Empty:
    """Set params of a logged model."""
    services.logged_models.log_params(ask.model_id, plain_texts(ask.params))
    return Empty()


@calls.on("POST", "logged-models/search")
def search(services: Services, ask: SearchLogged) -> LoggedPage:
    """Find logged models."""
    if not ask.experiment_ids:
        raise InvalidRequest("Missing value for required parameter 'experiment_ids'.")
    if not all(dataset.dataset_name for dataset in ask.datasets):
        raise InvalidRequest("`dataset_name` in the `datasets` clause must be specified.")
    limit = DEFAULT_PAGE if ask.max_results is None else ask.max_results
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"Invalid value {limit} for max_results: expected 1 to {MAX_PAGE}")
    offset = _offset(ask)
    found = services.logged_models.search(
        ask.experiment_ids,
        parse_filter(ask.filter, _ENTITIES),
        datasets=[OnDataset(asked.dataset_name, asked.dataset_digest or None) for asked in ask.datasets],
        order=[_order(asked) for asked in ask.order_by],
        limit=limit + 1,
        offset=offset,
    )
    more = _Token(ask.experiment_ids, ask.filter, ask.order_by, offset + limit) if len(found) > limit else None
    token = "" if more is None else base64.b64encode(msgspec.json.encode(more)).decode()
    experiments = {id: services.tracking.experiments.get(id) for id in {model.experiment for model in found}}
    return LoggedPage([_entity(model, experiments[model.experiment]) for model in found[:limit]], token)


def _order(ask: OrderAsk) -> MetricOrder:
    entity, dot, key = ask.field_name.partition(".")
    if dot and entity != "metrics":
        raise InvalidRequest(f"Invalid order by field name: {ask.field_name}. Only metrics are supported.")
    if ask.dataset_digest and not ask.dataset_name:
        raise InvalidRequest("`dataset_digest` can only be specified if `dataset_name` is also specified.")
    return MetricOrder(
        key=key if dot else ask.field_name.strip(),
        metric=bool(dot),
        descending=not ask.ascending,
        dataset=ask.dataset_name or None,
        dataset_digest=ask.dataset_digest or None,
    )


def _offset(ask: SearchLogged) -> int:
    if not ask.page_token:
        return 0
    try:
        token = msgspec.json.decode(base64.b64decode(ask.page_token, validate=True), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidRequest(f"Invalid page token {ask.page_token!r}: hand back the token as it was given") from None
    if token.experiment_ids != ask.experiment_ids:
        _of_another_search("Experiment IDs", token.experiment_ids, ask.experiment_ids)
    if token.filter_string != ask.filter:
        _of_another_search("Filter string", token.filter_string, ask.filter)
    if token.order_by != ask.order_by:
        _of_another_search("Order by", token.order_by, ask.order_by)
    return token.offset


def _of_another_search(what: str, given: Any, asked: Any) -> NoReturn:
    raise InvalidRequest(f"{what} in the page token do not match the request: {given} is not {asked}")


def _told(services: Services, model: LoggedModel) -> LoggedAnswer:
    return LoggedAnswer(_entity(model, services.tracking.experiments.get(model.experiment)))


def _entity(model: LoggedModel, experiment: Experiment) -> LoggedEntity:
    info = InfoEntity(
        model_id=model.id,
        experiment_id=model.experiment,
        name=model.name,
        creation_timestamp_ms=milliseconds(model.created),
        last_updated_timestamp_ms=milliseconds(model.updated),
        artifact_uri=location_of(experiment, model.id),
        status=_STATUS[model.status],
        model_type=model.model_type or "",
        source_run_id=model.run or "",
        tags=pairs(model.tags),
    )
    metrics = [_metric(model.id, metric) for metric in model.metrics]
    return LoggedEntity(info, DataEntity(pairs(model.params), metrics))


def _metric(model: str, metric: LoggedMetric) -> LoggedMetricEntity:
    return LoggedMetricEntity(
        key=metric.key,
        value=_portable(metric.value),
        timestamp=milliseconds(metric.at),
        step=metric.step,
        model_id=model,
        run_id=metric.run,
        dataset_name=metric.dataset or "",
        dataset_digest=metric.dataset_digest or "",
    )


def _portable(value: float | None) -> float | str:
    if value is None:
        return "NaN"
    if math.isfinite(value):
        return value
    return "Infinity" if value > 0 else "-Infinity"
