"""``mainspring demo``."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mainspring.cli.output import show
from mainspring.core.errors import MainspringError
from mainspring.core.settings import load_settings

if TYPE_CHECKING:
    from mainspring.loop.narrator import Narrator


@click.command()
@click.option(
    "--home", default=None, metavar="DIR", help="Keep everything here; default: a folder that goes at the end."
)
@click.option("--keep", is_flag=True, help="Leave the platform up at the end, until Ctrl-C, and its folder.")
@click.option("--rows", default=None, type=click.IntRange(min=100), help="How many flights to use.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def demo(home: str | None, keep: bool, rows: int | None, as_json: bool) -> None:
    """Turn the whole loop once on real data, and show each step.

    A year of flights out of New York: which will arrive late? The later months are replayed as traffic over HTTP; from
    September on one column comes in another unit, which is our doing.
    """
    from mainspring.loop.demo import ROWS
    from mainspring.loop.narrator import Silent, Terminal

    click.get_current_context().ensure_object(dict)["as_json"] = as_json
    narrator = Silent() if as_json else Terminal(sys.stdout)
    folder = Path(home or tempfile.mkdtemp(prefix="mainspring-demo-"))
    try:
        _turn(folder, narrator, rows or ROWS, keep=keep, lasting=keep or home is not None, as_json=as_json)
    except BaseException as ended:
        # What went wrong is found in its logs, and the same command on this home goes on where this one stopped.
        _tell_home(folder, ended, as_json=as_json)
        raise
    if home is None and not keep:
        shutil.rmtree(folder, ignore_errors=True)


def _tell_home(folder: Path, ended: BaseException, *, as_json: bool) -> None:
    if isinstance(ended, MainspringError):
        ended.facts.setdefault("home", str(folder))
    if not as_json:
        click.echo(f"the home is kept; `mainspring demo --home {folder}` goes on with it", err=True)


def _turn(folder: Path, narrator: Narrator, rows: int, *, keep: bool, lasting: bool, as_json: bool) -> None:
    from mainspring.loop.demo import run_demo, summary
    from mainspring.loop.flights import SHIFT

    narrator.say("[bold]Mainspring turns the loop once on the flights out of New York in 2013.[/]")
    narrator.say(f"[dim]Real data, one thing is staged: {SHIFT}. Home: {folder}[/]\n")
    done, platform = run_demo(load_settings({"home": str(folder)}).settings, narrator, rows)
    try:
        if as_json:
            show(done, as_json=True)
        for line in [*summary(done), "\n[bold]Next[/]\n", *_next(folder, keep=keep, lasting=lasting)]:
            narrator.say(line)
        if keep:
            narrator.say(f"\nup: control {done.control}, data {done.data}. Ctrl-C stops it.")
            _until_interrupted()
    finally:
        platform.close()


def _next(folder: Path, *, keep: bool, lasting: bool) -> list[str]:
    """Give three commands to try, on the home if there still is one."""
    from mainspring.loop.demo import NAME

    own = "  mainspring loop run --data YOUR.csv --target COLUMN   [dim]the same on your own table[/]"
    if not lasting:
        return [
            "  mainspring demo --keep                                [dim]again, and leave the platform up[/]",
            own,
            "  mainspring up                                         [dim]a platform of your own, in .mainspring[/]",
        ]
    at = f"--home {folder}"
    looks = [
        f"  mainspring lineage model:{NAME}@champion {at}   [dim]what the champion was made from[/]",
        f"  mainspring endpoint history {NAME} {at}         [dim]every release, and who changed it[/]",
    ]
    if keep:
        return [*looks, f"  mainspring rollback {NAME} {at}                 [dim]go back in one command[/]"]
    return [f"  mainspring up {at}                        [dim]start it again where it stopped[/]", *looks]


def _until_interrupted() -> None:
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
