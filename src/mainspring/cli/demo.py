"""``mainspring demo``."""

from __future__ import annotations

import signal
import sys
import tempfile

import click

from mainspring.cli.output import show
from mainspring.core.settings import load_settings


@click.command()
@click.option("--home", default=None, metavar="DIR", help="Folder to keep it all in; default: a new temporary one.")
@click.option("--keep", is_flag=True, help="Leave the platform up at the end, until Ctrl-C.")
@click.option("--rows", default=None, type=int, help="How many flights to use.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def demo(home: str | None, keep: bool, rows: int | None, as_json: bool) -> None:
    """Turn the whole loop once on real data, and show each step.

    A year of flights out of New York: which will arrive late? The later months are replayed as traffic over HTTP; from
    September on one column comes in another unit, which is our doing.
    """
    from mainspring.loop.demo import NAME, ROWS, run_demo, summary
    from mainspring.loop.flights import SHIFT
    from mainspring.loop.narrator import Silent, Terminal

    click.get_current_context().ensure_object(dict)["as_json"] = as_json
    folder = home or tempfile.mkdtemp(prefix="mainspring-demo-")
    narrator = Silent() if as_json else Terminal(sys.stdout)
    narrator.say("[bold]Mainspring turns the loop once on the flights out of New York in 2013.[/]")
    narrator.say(f"[dim]Real data, one thing is staged: {SHIFT}. Home: {folder}[/]\n")
    done, platform = run_demo(load_settings({"home": folder}).settings, narrator, rows or ROWS)
    try:
        if as_json:
            show(done, as_json=True)
        for line in summary(done):
            narrator.say(line)
        narrator.say("\n[bold]Next[/]\n")
        up = f"--home {folder}"
        if not keep:
            narrator.say(f"  mainspring up {up}                        [dim]start it again where it stopped[/]")
        narrator.say(f"  mainspring lineage model:{NAME}@champion {up}   [dim]what the champion was made from[/]")
        narrator.say(f"  mainspring endpoint history {NAME} {up}         [dim]every release, and who changed it[/]")
        if keep:
            narrator.say(f"  mainspring rollback {NAME} {up}                 [dim]go back in one command[/]")
            narrator.say(f"\nup: control {done.control}, data {done.data}. Ctrl-C stops it.")
            _until_interrupted()
        else:
            narrator.say("  mainspring loop run --data YOUR.csv --target COLUMN   [dim]the same on your own table[/]")
    finally:
        platform.close()


def _until_interrupted() -> None:
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
