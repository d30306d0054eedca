"""Plain ``mainspring``: what is there, and what to do next."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from mainspring.cli.output import show
from mainspring.core.errors import NotFound
from mainspring.core.settings import Settings
from mainspring.runtime.home_lock import Owner, home_owner

if TYPE_CHECKING:
    from mainspring.client.session import Session

_SHOWN = 10
_ALARMS = 5


class DatasetLine(msgspec.Struct, frozen=True):
    """A dataset: the ref of its latest accepted version, and its rows."""

    dataset: str
    rows: int
    quarantined: int


class ModelLine(msgspec.Struct, frozen=True):
    """A model: its latest version, and the one that its alias champion points to."""

    model: str
    latest: int | None
    champion: int | None


class EndpointLine(msgspec.Struct, frozen=True):
    """An endpoint, with what serves it."""

    endpoint: str
    release: str | None
    model: str | None
    canary: str | None
    canary_share: float | None


class AlarmLine(msgspec.Struct, frozen=True):
    """An alarm of the monitors."""

    alarm: str
    at: datetime
    endpoint: str
    kind: str
    about: str | None


class JobLine(msgspec.Struct, frozen=True):
    """A job that runs."""

    job: str
    pipeline: str
    started: datetime


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What there is on a home (or at a URL), and which commands come next."""

    home: str
    exists: bool
    running: bool
    urls: dict[str, str] = {}
    datasets: list[DatasetLine] = []
    models: list[ModelLine] = []
    endpoints: list[EndpointLine] = []
    alarms: list[AlarmLine] = []
    jobs: list[JobLine] = []
    next: list[str] = []


def overview(settings: Settings, *, as_json: bool) -> None:
    """Show what is there; reads only, and makes no home where there is none."""
    found = _look(settings)
    if as_json:
        show(found, as_json=True)
        return
    click.echo(_headline(found))
    for what in ("datasets", "models", "endpoints", "alarms", "jobs"):
        lines = getattr(found, what)
        if lines:
            click.echo(f"\n{what}:")
            show(lines[:_SHOWN], as_json=False)
            if len(lines) > _SHOWN:
                click.echo(f"... and {len(lines) - _SHOWN} more")
    click.echo("\nnext:")
    for command in found.next:
        click.echo(f"  {command}")


def _headline(found: Overview) -> str:
    if not found.exists:
        return f"nothing is in {found.home} yet"
    if not found.running:
        return f"{found.home}: nothing runs"
    return f"{found.home}: up, " + ", ".join(f"{plane} {url}" for plane, url in found.urls.items())


def _look(settings: Settings) -> Overview:
    owner = home_owner(settings.home)
    home = settings.url or str(Path(settings.home).absolute())
    if not settings.url and owner is None and not _there(settings):
        return Overview(home=home, exists=False, running=False, next=_first_steps())
    from mainspring.planes.embedded import attach

    with attach(settings) as session:
        return _read(session, settings, home, owner)


def _there(settings: Settings) -> bool:
    home = Path(settings.home)
    return (home / "mainspring.db").exists() or (home.exists() and (not home.is_dir() or bool(settings.database_url)))


def _read(session: Session, settings: Settings, home: str, owner: Owner | None) -> Overview:
    endpoints = session.releases.list()
    found = Overview(
        home=home,
        exists=True,
        running=owner is not None or bool(settings.url),
        urls={"control": settings.url} if settings.url else owner.urls if owner else {},
        datasets=[
            DatasetLine(f"dataset:{d.name}" + (f"@{d.latest}" if d.latest else ""), d.rows, d.quarantined)
            for d in session.datasets.list()
        ],
        models=[ModelLine(m.name, m.latest, m.aliases.get("champion")) for m in session.registry.list_models()],
        endpoints=[
            EndpointLine(e.name, e.stable, e.model, e.canary, e.canary_share if e.canary else None) for e in endpoints
        ],
        alarms=_alarms(session, [endpoint.name for endpoint in endpoints]),
        jobs=[JobLine(job.id, job.pipeline, job.started) for job in session.pipelines.list(status="running")],
    )
    return msgspec.structs.replace(found, next=_next(found))


def _alarms(session: Session, endpoints: list[str]) -> list[AlarmLine]:
    found = []
    for endpoint in endpoints:
        with contextlib.suppress(NotFound):
            found += session.monitoring.alarms(endpoint, limit=_ALARMS)
    newest = sorted(found, key=lambda alarm: alarm.at, reverse=True)[:_ALARMS]
    return [AlarmLine(a.ref, a.at, a.endpoint, a.finding.kind, a.finding.column) for a in newest]


def _first_steps() -> list[str]:
    return [
        "mainspring demo                                        turn the whole loop once on real data",
        "mainspring loop run --data FILE --target COLUMN        turn it on a table of yours",
        "mainspring dataset import NAME FILE                    begin with the data",
    ]


def _next(found: Overview) -> list[str]:
    commands = []
    if not found.running and found.endpoints:
        commands.append("mainspring up")
    commands += [f"mainspring rollout status {e.endpoint}" for e in found.endpoints if e.canary][:1]
    commands += [f"mainspring monitor alarms {alarm.endpoint}" for alarm in found.alarms][:1]
    commands += [f"mainspring job get {job.job}" for job in found.jobs][:1]
    if not found.endpoints:
        commands += [f"mainspring deploy {m.model} model:{m.model}@{m.latest}" for m in found.models if m.latest][:1]
    if not found.models and not found.endpoints:
        commands += _first_steps()[1:] if not found.datasets else _first_steps()[1:2]
    if not commands:
        release = next((e.release for e in found.endpoints if e.release), None)
        commands.append(f"mainspring lineage {release}" if release else "mainspring events")
    return commands
