"""``traces/...``: MLflow's traces over ours, in their third form, and what its clients still call in the second."""

from __future__ import annotations

import time

import msgspec

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.trace_wire import (
    OURS,
    SOURCE_RUN,
    InfoWire,
    Location,
    StatedTrace,
    TraceWire,
    info_read,
    info_told,
    is_whole,
    trace_told,
)
from mainspring.traces.model import Trace
from mainspring.tracking.model import Experiment

calls = CallList("/3.0/mlflow")
older = CallList("/2.0/mlflow")

WAIT_FOR_SPANS_S = 1.0
"""How long a trace that is asked for may wait for spans that its client has counted and not sent yet."""
_LOOK_AGAIN_S = 0.05


class StartTrace(msgspec.Struct):
    """What is known of a trace that has ended."""

    trace: StatedTrace


class TraceAnswer(msgspec.Struct, frozen=True):
    """One trace."""

    trace: TraceWire


class TraceId(msgspec.Struct):
    """Which trace is asked for; *allow_partial*: also when not all its spans came yet."""

    trace_id: str
    allow_partial: bool = False


class TraceIds(msgspec.Struct):
    """Which traces are asked for, in which experiments."""

    trace_ids: list[str]
    experiment_ids: list[str] | None = None


class TracesAnswer(msgspec.Struct, frozen=True):
    """Some traces with their spans."""

    traces: list[TraceWire]


class InfosAnswer(msgspec.Struct, frozen=True):
    """Some traces without their spans."""

    trace_infos: list[InfoWire]


class SearchTraces(msgspec.Struct):
    """Which traces are looked for, in which order."""

    locations: list[Location]
    filter: str = ""
    max_results: int = 100
    order_by: list[str] = []
    page_token: str = ""


class SearchAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of traces without their spans."""

    traces: list[InfoWire] = []
    next_page_token: str | None = None


class DeleteTraces(msgspec.Struct):
    """Which traces of an experiment go."""

    experiment_id: str
    max_timestamp_millis: int | None = None
    max_traces: int | None = None
    request_ids: list[str] = []


class Deleted(msgspec.Struct, frozen=True):
    """How many traces went."""

    traces_deleted: int


class SetTag(msgspec.Struct):
    """A tag of a trace."""

    trace_id: str
    key: str
    value: str = ""


class DeleteTag(msgspec.Struct):
    """Which tag of a trace goes."""

    trace_id: str
    key: str


class LinkToRun(msgspec.Struct):
    """Which traces belong to a run."""

    trace_ids: list[str]
    run_id: str


class PromptVersion(msgspec.Struct):
    """A version of a prompt."""

    name: str
    version: str


class LinkPrompts(msgspec.Struct):
    """Which prompts a trace used."""

    trace_id: str
    prompt_versions: list[PromptVersion]


@calls.on("POST", "traces")
def start(services: Services, ask: StartTrace) -> TraceAnswer:
    """Keep what is known of a trace that has ended."""
    stated = info_read(ask.trace.trace_info)
    experiment = require_experiment(services, stated.experiment)
    kept = services.traces.put_trace(stated, run=stated.metadata.get(SOURCE_RUN) or None)
    return TraceAnswer(TraceWire(info_told(kept, experiment.artifact_uri)))


@calls.on("GET", "traces/{trace_id}")
def get_info(services: Services, ask: TraceId) -> TraceAnswer:
    """Get what is known of a trace."""
    found = services.traces.get_trace(ask.trace_id)
    return TraceAnswer(TraceWire(_told(services, [found])[0]))


@calls.on("GET", "traces/get")
def get(services: Services, ask: TraceId) -> TraceAnswer:
    """Get a trace with its spans; one whose spans are on their way is waited for."""
    until = time.monotonic() + WAIT_FOR_SPANS_S
    while True:
        found = services.traces.get_trace(ask.trace_id)
        spans = services.traces.spans([found.id])[found.id]
        if ask.allow_partial or is_whole(found, spans):
            return TraceAnswer(trace_told(found, _location(services, found.experiment), spans))
        if time.monotonic() > until:
            raise NotFound(f"Trace with ID {ask.trace_id} is not fully exported yet, please try again later.")
        time.sleep(_LOOK_AGAIN_S)


@calls.on("GET", "traces/batchGet")
def batch_get(services: Services, ask: TraceIds) -> TracesAnswer:
    """Get those traces that are there whole."""
    found = services.traces.list_traces(_some(ask.trace_ids), ask.experiment_ids)
    spans = services.traces.spans([trace.id for trace in found])
    whole = [trace for trace in found if is_whole(trace, spans[trace.id])]
    places = {id: _location(services, id) for id in {trace.experiment for trace in whole}}
    return TracesAnswer([trace_told(trace, places[trace.experiment], spans[trace.id]) for trace in whole])


@calls.on("POST", "traces/batchGetInfos")
def batch_get_infos(services: Services, ask: TraceIds) -> InfosAnswer:
    """Get what is known of those traces that there are."""
    return InfosAnswer(_told(services, services.traces.list_traces(_some(ask.trace_ids), ask.experiment_ids)))


@calls.on("POST", "traces/search")
def search(services: Services, ask: SearchTraces) -> SearchAnswer:
    """Find traces of experiments."""
    experiments = [place.experiment for place in ask.locations if place.mlflow_experiment]
    page = services.traces.search_traces(experiments, ask.filter, ask.order_by, ask.max_results, ask.page_token or None)
    return SearchAnswer(_told(services, page.traces), page.next_page)


def delete(services: Services, ask: DeleteTraces) -> Deleted:
    """Delete traces of an experiment."""
    gone = services.traces.delete_traces(
        ask.experiment_id, ask.request_ids, until_ms=ask.max_timestamp_millis, most=ask.max_traces
    )
    return Deleted(gone)


def set_tag(services: Services, ask: SetTag) -> Empty:
    """Set a tag of a trace."""
    _check_ours(ask.key, "set")
    services.traces.set_tag(ask.trace_id, ask.key, ask.value)
    return Empty()


def delete_tag(services: Services, ask: DeleteTag) -> Empty:
    """Remove a tag of a trace."""
    _check_ours(ask.key, "deleted")
    services.traces.delete_tag(ask.trace_id, ask.key)
    return Empty()


def link_to_run(services: Services, ask: LinkToRun) -> Empty:
    """Note that traces belong to a run."""
    services.tracking.get_run(ask.run_id)
    services.traces.link("run", ask.run_id, ask.trace_ids)
    return Empty()


def link_prompts(services: Services, ask: LinkPrompts) -> Empty:
    """Note which versions of prompts a trace used."""
    services.traces.get_trace(ask.trace_id)
    for prompt in ask.prompt_versions:
        services.traces.link("prompt", f"{prompt.name}/{prompt.version}", [ask.trace_id])
    return Empty()


for _form in (calls, older):
    _form.on("POST", "traces/delete-traces")(delete)
    _form.on("PATCH", "traces/{trace_id}/tags")(set_tag)
    _form.on("DELETE", "traces/{trace_id}/tags")(delete_tag)
    _form.on("POST", "traces/link-to-run")(link_to_run)
    _form.on("POST", "traces/link-prompts")(link_prompts)


def require_experiment(services: Services, id: str) -> Experiment:
    """Find the experiment with this id that traces may go to; raises NotFound, InvalidRequest when it is deleted."""
    found = services.tracking.experiments.get(id)
    if found.deleted is not None:
        raise InvalidRequest(f"The experiment {id} must be in the 'active' state. Current state is deleted.")
    return found


def _told(services: Services, found: list[Trace]) -> list[InfoWire]:
    places = {id: _location(services, id) for id in {trace.experiment for trace in found}}
    return [info_told(trace, places[trace.experiment]) for trace in found]


def _location(services: Services, experiment: str) -> str:
    return services.tracking.experiments.get(experiment).artifact_uri


def _some(ids: list[str]) -> list[str]:
    if not ids:
        raise InvalidRequest("Missing value for required parameter 'trace_ids'")
    return ids


def _check_ours(key: str, done: str) -> None:
    # Deleting this one is how a client lets a trace be archived again, which nothing here is.
    if key in OURS and (done, key) != ("deleted", OURS[-1]):
        raise InvalidRequest(f"Tag '{key}' is immutable and cannot be {done} on a trace.")
