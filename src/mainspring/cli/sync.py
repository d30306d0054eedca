"""``mainspring sync``: send what runs left on this machine's disk."""

from __future__ import annotations

from pathlib import Path

import click

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.client.places import offline_folder, spool
from mainspring.client.syncing import Sent, send_spooled
from mainspring.core.errors import NotFound, Unavailable


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@click.option("--keep", is_flag=True, help="Leave the folders there; they may be sent again, with no further effect.")
@common_options
def sync(target: Target, as_json: bool, folders: tuple[Path, ...], keep: bool) -> None:
    """Send runs that were logged offline, and what could not be sent when it was logged.

    FOLDERS are those of runs, or hold them; without any, the folder of offline runs and the one where runs wait for
    this platform. May be broken off and repeated: everything arrives once. Folders whose run goes on are left alone.
    """
    for folder in folders:
        if not folder.is_dir():
            raise NotFound(f"there is no folder {folder}")
    places = folders or (offline_folder(target.settings), spool(target.settings))
    sent: list[Sent] = []
    with target.session() as session:
        for folder in places:
            if folder.is_dir():
                sent += send_spooled(session, folder, keep=keep, told=None if as_json else _tell)
    if as_json:
        show(sent, as_json=True)
    elif not sent:
        click.echo("nothing waits in " + ", ".join(str(place) for place in places))
    waiting = [one for one in sent if one.state == "waiting"]
    if waiting:
        raise Unavailable(f"{len(waiting)} of {len(sent)} could not be sent whole: {waiting[-1].trouble}; sync again")


def _tell(sent: Sent) -> None:
    what = f"{sent.values} values, {sent.files} files" if sent.state != "running" else "still written; left alone"
    named = " ".join(part for part in (sent.experiment, sent.name) if part)
    click.echo(f"{sent.state:<8} {sent.run}  {named}  {what}".rstrip())
    for refused in sent.refused:
        click.echo(f"         refused: {refused}")
