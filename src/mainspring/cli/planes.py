"""``mainspring up``, ``down`` and ``status``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.core.errors import Unavailable
from mainspring.core.settings import Settings, load_settings
from mainspring.runtime.home_lock import Owner, home_owner
from mainspring.runtime.supervisor import ProcessEvent, ProcessState

_POLL_S = 0.05


@click.command()
@click.option("--home", default=None, metavar="DIR", help="Folder of everything that is kept (default .mainspring).")
@click.option("--port", type=int, default=None, help="Port of the control plane; 0 takes a free one.")
@click.option("--data-port", type=int, default=None, help="Port of the data plane; 0 takes a free one.")
@click.option("--workers", type=int, default=None, help="Processes that answer predictions.")
@click.option("--auth", is_flag=True, default=None, help="Ask for a login: HTTP Basic or a token.")
@click.option("--testing", is_flag=True, help="Let POST /testing/reset empty it all; refuses a home that holds data.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON once everything is ready.")
def up(
    home: str | None,
    port: int | None,
    data_port: int | None,
    workers: int | None,
    auth: bool | None,
    testing: bool,
    as_json: bool,
) -> None:
    """Start the control plane, the data plane and the job workers, and stay until SIGTERM or Ctrl-C."""
    from mainspring.planes.first_login import ADMIN, PASSWORD_FILE
    from mainspring.planes.up import Running, run_up

    click.get_current_context().ensure_object(dict)["as_json"] = as_json
    flags = {"home": home, "port": port, "data_port": data_port, "data_workers": workers, "auth": auth}
    settings = load_settings(flags).settings
    started = time.monotonic()

    def announce(running: Running) -> None:
        if as_json:
            show(running, as_json=True)
            return
        click.echo(f"Mainspring is up after {time.monotonic() - started:.1f} s (pid {running.pid})")
        click.echo(f"  control  {running.control}   API: {running.control}/openapi.json")
        click.echo(f"  data     {running.data}   metrics: {running.data}/metrics")
        click.echo(f"  home     {running.home}   logs: {running.home}/logs")
        password = Path(running.home) / PASSWORD_FILE
        if settings.auth and password.exists():
            click.echo(f"  login    {ADMIN}, with the password in {password}")
        click.echo("Stop it with Ctrl-C, or `mainspring down` from anywhere.")

    run_up(settings, announce, None if as_json else _tell, testing=testing)
    if not as_json:
        click.echo("stopped")


def _tell(event: ProcessEvent) -> None:
    if event.kind == "restarting":
        click.echo(f"  {event.name} ended; it starts again in {event.delay_s:.1f} s", err=True)
    elif event.kind == "failed":
        click.echo(f"  {event.name} ended again and again; it stays down, see its log", err=True)


@click.command()
@click.option("--home", default=None, metavar="DIR", help="Folder of the platform (default .mainspring).")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait until it has stopped.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on one line.")
def down(home: str | None, timeout: float, as_json: bool) -> None:
    """Stop what `mainspring up` started: drain, then stop, in reverse order."""
    click.get_current_context().ensure_object(dict)["as_json"] = as_json
    settings = load_settings({"home": home}).settings
    owner = home_owner(settings.home)
    if owner is None:
        show({"stopped": False, "reason": f"nothing runs on {settings.home}"}, as_json=as_json)
        return
    os.kill(owner.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while home_owner(settings.home) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"pid {owner.pid} still runs after {timeout:g} s; look at {settings.home}/logs")
        time.sleep(_POLL_S)
    show({"stopped": True, "pid": owner.pid}, as_json=as_json)


class Status(msgspec.Struct, frozen=True):
    """What runs on a home, and what its endpoints serve."""

    home: str
    running: bool
    pid: int | None
    urls: dict[str, str]
    processes: list[ProcessState]
    endpoints: list[Any]


@click.command()
@common_options
def status(target: Target, as_json: bool) -> None:
    """Show the processes of the platform and what its endpoints serve."""
    owner = home_owner(target.settings.home)
    with target.session() as session:
        endpoints = [msgspec.to_builtins(endpoint) for endpoint in session.releases.list()]
    found = Status(
        home=str(Path(target.settings.home).absolute()),
        running=owner is not None,
        pid=owner.pid if owner else None,
        urls=owner.urls if owner else {},
        processes=_processes(target.settings, owner),
        endpoints=endpoints,
    )
    if as_json:
        show(found, as_json=True)
        return
    if owner is None:
        click.echo(f"nothing runs on {found.home}; start it with `mainspring up`")
    else:
        click.echo(f"up on {found.home} (pid {owner.pid}): " + ", ".join(f"{k} {v}" for k, v in owner.urls.items()))
        show(found.processes, as_json=False)
    click.echo("endpoints:" if endpoints else "no endpoint yet; deploy one with `mainspring deploy ENDPOINT MODEL`")
    if endpoints:
        show(endpoints, as_json=False)


def _processes(settings: Settings, owner: Owner | None) -> list[ProcessState]:
    if owner is None:
        return []
    file = Path(settings.home) / "run" / "processes.json"
    try:
        states = msgspec.json.decode(file.read_bytes(), type=list[ProcessState])
        age = max(time.time() - file.stat().st_mtime, 0.0)
    except (OSError, msgspec.DecodeError):
        return []
    return [_aged(state, age) for state in states]


def _aged(state: ProcessState, seconds: float) -> ProcessState:
    # The file is written when something changes: what ran then has run on since.
    if state.status != "running":
        return state
    return msgspec.structs.replace(state, uptime_s=round(state.uptime_s + seconds, 1))
