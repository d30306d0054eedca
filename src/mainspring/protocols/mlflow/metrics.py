"""``metrics/...``: histories, whole or as a chart needs them."""

from __future__ import annotations

from itertools import repeat

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Services
from mainspring.protocols.mlflow.entities import ByRun
from mainspring.protocols.mlflow.run_entities import MetricEntity, number
from mainspring.tracking.metrics.columns import Columns
from mainspring.tracking.model import MAX_HISTORY

MAX_RUNS = 100
MAX_SAMPLE = 2_500

calls = CallList()


class GetHistory(ByRun):
    """Which metric of which run is asked for."""

    metric_key: str | None = None
    max_results: int | None = None
    page_token: str | None = None


class HistoryAnswer(msgspec.Struct, omit_defaults=True):
    """Points of one metric."""

    metrics: list[MetricEntity] = []
    next_page_token: str | None = None


class GetBulk(msgspec.Struct):
    """Which metric of which runs is asked for."""

    run_id: list[str] = []
    metric_key: str | None = None
    max_results: int = MAX_HISTORY


class GetSample(msgspec.Struct):
    """Which metric of which runs is asked for, how finely, and over which steps."""

    run_ids: list[str] = []
    metric_key: str | None = None
    start_step: int | None = None
    end_step: int | None = None
    max_results: int = MAX_SAMPLE


class PointOfRun(MetricEntity, gc=False):
    """A measured value and its run."""

    run_id: str


class BulkAnswer(msgspec.Struct):
    """Points of one metric of several runs."""

    metrics: list[PointOfRun]


@calls.on("GET", "metrics/get-history")
def get_history(services: Services, ask: GetHistory) -> HistoryAnswer:
    """Get the points of a metric: all of them, or a page where *max_results* asks for pages."""
    key, histories = _key(ask.metric_key), services.tracking.histories
    if ask.max_results is None:
        if ask.page_token:
            return _answer(key, *histories.page(ask.run, key, MAX_HISTORY, ask.page_token))
        found: list[MetricEntity] = []
        for part in histories.whole(ask.run, key):
            found += _points(key, part)
        return HistoryAnswer(found)
    if ask.max_results < 1:
        raise InvalidRequest(f"Invalid value {ask.max_results} for parameter 'max_results' supplied: expected from 1")
    return _answer(key, *histories.page(ask.run, key, min(ask.max_results, MAX_HISTORY), ask.page_token or None))


@calls.on("GET", "metrics/get-history-bulk")
def get_bulk(services: Services, ask: GetBulk) -> BulkAnswer:
    """Get the points of a metric of several runs, run by run, up to *max_results* in all."""
    if not ask.run_id:
        raise InvalidRequest("GetMetricHistoryBulk request must specify at least one run_id")
    if len(ask.run_id) > MAX_RUNS:
        raise InvalidRequest(f"GetMetricHistoryBulk request cannot specify more than {MAX_RUNS} run_ids")
    if ask.metric_key is None:
        raise InvalidRequest("GetMetricHistoryBulk request must specify a metric_key")
    left = min(ask.max_results, MAX_HISTORY)
    found: list[PointOfRun] = []
    for run in sorted(ask.run_id):
        if left < 1:
            break
        part, _ = services.tracking.histories.page(run, ask.metric_key, left)
        left -= len(part.steps)
        found += _of_run(run, ask.metric_key, part)
    return BulkAnswer(found)


@calls.on("GET", "metrics/get-history-bulk-interval")
def get_sample(services: Services, ask: GetSample) -> BulkAnswer:
    """Get points of a metric of several runs at the same steps, about *max_results*, spread evenly."""
    if not ask.run_ids:
        raise InvalidRequest("Missing value for required parameter 'run_ids'.")
    if len(ask.run_ids) > MAX_RUNS:
        raise InvalidRequest(f"GetMetricHistoryBulkInterval request must specify at most {MAX_RUNS} run_ids.")
    key = _key(ask.metric_key)
    if not 1 <= ask.max_results <= MAX_SAMPLE:
        raise InvalidRequest(f"max_results must be between 1 and {MAX_SAMPLE}, not {ask.max_results}")
    samples = services.tracking.histories.sampled(ask.run_ids, key, ask.max_results, _steps(ask))
    return BulkAnswer([point for run in ask.run_ids if run in samples for point in _of_run(run, key, samples[run])])


def _steps(ask: GetSample) -> tuple[int, int] | None:
    if ask.start_step is None and ask.end_step is None:
        return None
    if ask.start_step is None or ask.end_step is None:
        raise InvalidRequest("If either start step or end step are specified, both must be specified.")
    if ask.start_step > ask.end_step:
        raise InvalidRequest(f"end_step must be greater than start_step. Found {ask.start_step} and {ask.end_step}")
    return ask.start_step, ask.end_step


def _key(key: str | None) -> str:
    if not key:
        raise InvalidRequest("Missing value for required parameter 'metric_key'")
    return key


def _answer(key: str, found: Columns, next_page: str | None) -> HistoryAnswer:
    return HistoryAnswer(_points(key, found), next_page)


def _points(key: str, found: Columns) -> list[MetricEntity]:
    # Of 100,000 points each step of Python's own counts, so the columns go to the entities as they are.
    return list(map(MetricEntity, repeat(key), _numbers(found), found.milliseconds(), found.steps.tolist()))


def _of_run(run: str, key: str, found: Columns) -> list[PointOfRun]:
    columns = repeat(key), _numbers(found), found.milliseconds(), found.steps.tolist(), repeat(run)
    return list(map(PointOfRun, *columns))


def _numbers(found: Columns) -> list[float | str]:
    return list(found.portables()) if found.is_finite() else [number(value) for value in found.portables()]
