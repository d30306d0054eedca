"""``runs/log-...``, ``set-tag`` and ``delete-tag``: what runs set and measure, within MLflow's limits."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from mainspring.core.errors import Conflict, InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import ByRun, KeyValue, moment, texts
from mainspring.protocols.mlflow.run_entities import RUN_NAME
from mainspring.registry.logged.model import LoggedMetric
from mainspring.storage.sql.database import Transaction, Work
from mainspring.tracking.metrics.store import Sorted, grouped, sortable

MAX_KEY_CHARS, MAX_PARAM_CHARS, MAX_TAG_CHARS = 250, 6_000, 8_000
MAX_METRICS, MAX_TEXTS, MAX_ENTITIES = 1_000, 100, 1_000

calls = CallList()

_INT64 = 2**63
_END_MS = _INT64 // 1000
_KEY = re.compile(r"[/\w.\- :]+")


class MetricAsk(msgspec.Struct, gc=False):
    """A measured value; a number that is not finite comes as a word."""

    key: str
    value: float | str
    timestamp: int
    step: int | None = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogBatch(msgspec.Struct):
    """Much at once for one run."""

    run_id: str
    metrics: list[MetricAsk] | None = None
    params: list[KeyValue] | None = None
    tags: list[KeyValue] | None = None


class LogMetric(ByRun, kw_only=True):
    """One measured value of a run."""

    key: str
    value: float | str
    timestamp: int
    step: int | None = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogText(ByRun, kw_only=True):
    """One param or tag of a run."""

    key: str
    value: str = ""


class DeleteTag(ByRun, kw_only=True):
    """Which tag of a run goes."""

    key: str


Measured = MetricAsk | LogMetric


@calls.writes("POST", "runs/log-metric")
def log_metric(services: Services, ask: LogMetric) -> Work[None]:
    """Log one measured value."""
    step, at_ms = ask.step or 0, ask.timestamp
    if ask.model_id or not (0 <= at_ms < _END_MS and -_INT64 <= step < _INT64):
        return logging(services, ask.run, [ask])
    # Nothing is called more often: what is done for many values at once is not done for one.
    check_key(ask.key, "metric")
    return services.tracking.logging_point(ask.run, ask.key, (step, at_ms * 1000, sortable(_number(ask))))


@calls.writes("POST", "runs/log-parameter")
def log_param(services: Services, ask: LogText) -> Work[None]:
    """Set a param once and for all."""
    return logging(services, ask.run, params=[KeyValue(ask.key, ask.value)])


@calls.writes("POST", "runs/set-tag")
def set_tag(services: Services, ask: LogText) -> Work[None]:
    """Set a tag."""
    return logging(services, ask.run, tags=[KeyValue(ask.key, ask.value)])


@calls.on("POST", "runs/delete-tag")
def delete_tag(services: Services, ask: DeleteTag) -> Empty:
    """Remove a tag."""
    services.tracking.delete_tag(ask.run, ask.key)
    return Empty()


@calls.writes("POST", "runs/log-batch")
def log_batch(services: Services, ask: LogBatch) -> Work[None]:
    """Log metrics, params and tags, all or nothing."""
    metrics, params, tags = ask.metrics or [], ask.params or [], ask.tags or []
    _check_sizes(metrics, params, tags)
    return logging(services, ask.run_id, metrics, params, tags)


def logging(
    services: Services,
    run: str,
    metrics: Sequence[Measured] = (),
    params: Sequence[KeyValue] = (),
    tags: Sequence[KeyValue] = (),
) -> Work[None]:
    """Plan to log what was checked for its size only."""
    kept = check_tags(tags) if tags else {}
    name = kept.pop(RUN_NAME, "")
    log = services.tracking.logging_points(run, _points(metrics), check_params(params) if params else {}, kept)
    if not (params or name or any(metric.model_id for metric in metrics)):
        return log
    works = [log, *_of_models(services, run, metrics)]
    rename = services.tracking.lifecycle.changing(run, name=name, tags={RUN_NAME: name}) if name else None

    def work(connection: Transaction) -> None:
        try:
            for part in works:
                part(connection)
        except Conflict as error:
            raise _as_told(error) from None
        if rename is not None:
            rename(connection)

    return work


def _of_models(services: Services, run: str, metrics: Sequence[Measured]) -> list[Work[None]]:
    by_model: dict[str, list[LoggedMetric]] = {}
    for metric in metrics:
        if metric.model_id:
            by_model.setdefault(metric.model_id, []).append(_measured(run, metric))
    return [services.logged_models.logging_metrics(model, measured) for model, measured in by_model.items()]


def _measured(run: str, metric: Measured) -> LoggedMetric:
    value = float(metric.value)
    return LoggedMetric(
        key=metric.key,
        value=None if math.isnan(value) else value,
        at=moment(metric.timestamp),
        step=metric.step or 0,
        run=run,
        dataset=metric.dataset_name or None,
        dataset_digest=metric.dataset_digest or None,
    )


def check_tags(tags: Iterable[KeyValue]) -> dict[str, str]:
    """Read tags; values beyond the limit are cut. Raises InvalidRequest for what cannot be a key."""
    found = texts(tags)
    for key in found:
        check_key(key, "tag")
    return {key: value[:MAX_TAG_CHARS] for key, value in found.items()}


@lru_cache(4096)
def check_key(key: str, what: str) -> None:
    """Raise InvalidRequest for what cannot be the key of a metric, a param or a tag."""
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY_CHARS:
        raise InvalidRequest(
            f"Invalid value {key[:100]!r} for the name of a {what}: expected up to {MAX_KEY_CHARS} letters, digits, "
            "'_', '-', '.', ':', '/' and blanks"
        )
    if posixpath.normpath(key) != key or key in (".", "..") or key.startswith(("/", "../")):
        raise InvalidRequest(f"Invalid value {key!r} for the name of a {what}: it must be a plain relative path")


def check_params(params: Sequence[KeyValue]) -> dict[str, str]:
    """Read params; values beyond the limit are cut. Raises InvalidRequest for what cannot be a key, or comes twice."""
    found = texts(params)
    if len(found) != len(params):
        keys = [pair.key for pair in params]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise InvalidRequest(f"Duplicate parameter keys have been submitted: {', '.join(twice)}")
    for key in found:
        check_key(key, "param")
    return {key: value[:MAX_PARAM_CHARS] for key, value in found.items()}


def _check_sizes(metrics: Sequence[Measured], params: Sequence[KeyValue], tags: Sequence[KeyValue]) -> None:
    sizes = (
        ("metrics", len(metrics), MAX_METRICS),
        ("params", len(params), MAX_TEXTS),
        ("tags", len(tags), MAX_TEXTS),
        ("metrics, params, and tags", len(metrics) + len(params) + len(tags), MAX_ENTITIES),
    )
    for what, size, most in sizes:
        if size > most:
            raise InvalidRequest(
                f"A batch logging request can contain at most {most} {what}. Got {size}: send several requests"
            )


def _points(metrics: Sequence[Measured]) -> dict[str, list[Sorted]]:
    keys = [metric.key for metric in metrics]
    for key in dict.fromkeys(keys):
        check_key(key, "metric")
    steps = [metric.step or 0 for metric in metrics]
    moments = [metric.timestamp for metric in metrics]
    if metrics and not (min(steps) >= -_INT64 and max(steps) < _INT64 and 0 <= min(moments) <= max(moments) < _END_MS):
        raise InvalidRequest(
            "Invalid value of a metric: expected timestamps in milliseconds, none negative, and steps in 64 bits; got "
            f"timestamps {min(moments)} to {max(moments)} and steps {min(steps)} to {max(steps)}"
        )
    values = [_number(metric) for metric in metrics]
    return grouped(keys, steps, [moment * 1000 for moment in moments], values)


def _number(metric: Measured) -> float:
    try:
        return float(metric.value)
    except ValueError:
        raise InvalidRequest(f"Invalid value {metric.value!r} for metric {metric.key!r}: expected a number") from None


def _as_told(error: Conflict) -> Conflict:
    if "old" not in error.facts:
        return error
    return Conflict(
        "Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' "
        "for run ID='{run}'. Attempted logging new value '{new}'.".format(**error.facts),
        **error.facts,
    )
