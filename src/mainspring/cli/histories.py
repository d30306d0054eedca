"""How the history of a model is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mainspring.cli.output import show
from mainspring.core.errors import InvalidRequest

if TYPE_CHECKING:
    from mainspring.registry.history.model import Change, ModelState


def moment_of(text: str) -> datetime:
    """Read a time, in UTC where it has no zone; raises InvalidRequest."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{text!r} is no time: expected such as 2026-11-21 or 2026-11-21T10:00:00+01:00") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def tell_changes(changes: list[Change], as_json: bool) -> None:
    """Print changes, one on a line."""
    if as_json:
        show(changes, as_json=True)
        return
    for change in changes:
        reason = f" ({change.reason})" if change.reason else ""
        click.echo(f"{change.at:%Y-%m-%d %H:%M:%S}  {change.what}{reason}  by {change.actor} from {change.origin}")


def tell_state(state: ModelState, as_json: bool) -> None:
    """Print how a model stood."""
    if as_json:
        show(state, as_json=True)
        return
    called = "" if state.known_as == state.name else f", called {state.known_as} then"
    click.echo(f"{state.name}{called} at {state.at:%Y-%m-%d %H:%M:%S} UTC")
    for alias, pointing in state.aliases.items():
        reason = f" ({pointing.reason})" if pointing.reason else ""
        since = f"since {pointing.since:%Y-%m-%d %H:%M:%S} by {pointing.actor} from {pointing.origin}"
        click.echo(f"  {alias} was version {pointing.version} {since}{reason}")
    for number, stage in sorted(state.stages.items()):
        click.echo(f"  version {number} was in {stage}")
    if not state.stages:
        click.echo("  it had no version")
