"""``runs/...``: MLflow's runs over ours, from their beginning to their deletion."""

from __future__ import annotations

import secrets

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import ByRun, KeyValue, lifecycle_of, moment
from mainspring.protocols.mlflow.logged_values import check_tags
from mainspring.protocols.mlflow.run_entities import (
    PARENT,
    RUN_NAME,
    USER,
    RunEntity,
    RunInfo,
    run_entities,
    run_entity,
    run_info,
    status_of,
)
from mainspring.protocols.mlflow.run_filters import read_filter, read_orders
from mainspring.storage.sql.database import Work
from mainspring.tracking.model import DEFAULT_ID

calls = CallList()

_QUALITIES = ("able", "agile", "bold", "brave", "bright", "brisk", "calm", "clever", "deft", "eager", "gentle", "keen")
_BIRDS = ("crane", "dove", "eagle", "finch", "gull", "hawk", "heron", "kite", "lark", "magpie", "plover", "robin")


class RunAnswer(msgspec.Struct):
    """One run."""

    run: RunEntity


class InfoAnswer(msgspec.Struct):
    """What a run is."""

    run_info: RunInfo


class CreateRun(msgspec.Struct):
    """A run that begins."""

    experiment_id: str | None = None
    user_id: str | None = None
    run_name: str | None = None
    start_time: int | None = None
    tags: list[KeyValue] | None = None


class UpdateRun(ByRun):
    """What changes of a run."""

    status: str | int | None = None
    end_time: int | None = None
    run_name: str | None = None


class SearchRuns(msgspec.Struct):
    """Which runs are asked for, in which order."""

    experiment_ids: list[str] | None = None
    filter: str | None = None
    run_view_type: str | int | None = None
    max_results: int = 1000
    order_by: list[str] | None = None
    page_token: str | None = None


class RunPage(msgspec.Struct, omit_defaults=True):
    """Runs that were found."""

    runs: list[RunEntity] = []
    next_page_token: str | None = None


@calls.writes("POST", "runs/create")
def create(services: Services, ask: CreateRun) -> Work[RunAnswer]:
    """Start a run."""
    tags = check_tags(ask.tags or [])
    name, told = ask.run_name or "", tags.get(RUN_NAME, "")
    if name and told and name != told:
        raise InvalidRequest(
            f"Both 'run_name' argument and 'mlflow.runName' tag are specified, but differ: {name!r} and {told!r}"
        )
    name = name or told or _invented_name()
    begin = services.tracking.lifecycle.beginning(
        ask.experiment_id or DEFAULT_ID,
        name=name,
        started=moment(ask.start_time) if ask.start_time else None,
        user=ask.user_id or tags.get(USER),
        parent=tags.get(PARENT),
        tags={**tags, RUN_NAME: name},
    )
    return lambda connection: RunAnswer(run_entity(begin(connection)))


@calls.on("GET", "runs/get")
def get(services: Services, ask: ByRun) -> RunAnswer:
    """Get a run, deleted or not."""
    return RunAnswer(run_entities(services.tracking.lifecycle.rows(ask.run))[0])


@calls.writes("POST", "runs/update")
def update(services: Services, ask: UpdateRun) -> Work[InfoAnswer]:
    """Change the name, the status or the end of a run."""
    status = None if ask.status is None else status_of(ask.status)
    ended = None if ask.end_time is None else moment(ask.end_time)
    name = ask.run_name or None
    tags = {} if name is None else {RUN_NAME: name}
    change = services.tracking.lifecycle.changing(ask.run, name=name, status=status, ended=ended, tags=tags)
    return lambda connection: InfoAnswer(run_info(change(connection)))


@calls.on("POST", "runs/delete")
def delete(services: Services, ask: ByRun) -> Empty:
    """Delete a run."""
    services.tracking.lifecycle.delete(ask.run)
    return Empty()


@calls.on("POST", "runs/restore")
def restore(services: Services, ask: ByRun) -> Empty:
    """Restore a deleted run."""
    services.tracking.lifecycle.restore(ask.run)
    return Empty()


@calls.on("POST", "runs/search")
def search(services: Services, ask: SearchRuns) -> RunPage:
    """Find runs of some experiments."""
    if not 1 <= ask.max_results <= 50_000:
        raise InvalidRequest(
            f"Invalid value {ask.max_results} for parameter 'max_results' supplied: expected 1 to 50000"
        )
    found, next_page = services.tracking.lifecycle.search(
        ask.experiment_ids or [],
        read_filter(ask.filter or ""),
        read_orders(ask.order_by or []),
        lifecycle_of(ask.run_view_type),
        ask.max_results,
        ask.page_token or None,
    )
    return RunPage(run_entities(found), next_page)


def _invented_name() -> str:
    return f"{secrets.choice(_QUALITIES)}-{secrets.choice(_BIRDS)}-{secrets.randbelow(1000)}"
