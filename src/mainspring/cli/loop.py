"""``mainspring loop run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mainspring.cli.output import show
from mainspring.cli.reading import reading_options
from mainspring.core.settings import load_settings

if TYPE_CHECKING:
    from mainspring.datasets.model import ReadOptions


@click.group()
def loop() -> None:
    """Turn the loop on your own table."""


@loop.command()
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), metavar="FILE", help="CSV, Parquet or Arrow file."
)
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option(
    "--time", default=None, metavar="COLUMN", help="The time of each row; without it, rows are in time order."
)
@click.option("--key", default=None, metavar="COLUMN", help="Who a row is about: a key keeps its arm during a canary.")
@click.option("--label-delay", default=None, metavar="DURATION", help="How late labels come, such as 2h or 7d.")
@click.option("--metric", default=None, metavar="NAME", help="What to judge by; the default follows the task.")
@click.option("--name", default=None, metavar="NAME", help="Name of dataset, model and endpoint; default: the file's.")
@click.option("--home", default=None, metavar="DIR", help="Folder of the platform (default .mainspring).")
@reading_options
@click.option("--seed", default=0, show_default=True, help="Seed of everything that draws lots.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def run(
    data: Path,
    target: str,
    time: str | None,
    key: str | None,
    label_delay: str | None,
    metric: str | None,
    name: str | None,
    home: str | None,
    options: ReadOptions | None,
    seed: int,
    as_json: bool,
) -> None:
    """Train on the earlier part of a table, serve it, replay the later part as live traffic, and keep the model good.

    The later rows are sent over HTTP in time order, their labels are posted when they are due. Monitors watch; when a
    trigger fires, a new model is trained on what was logged, gated, tried as a canary, and promoted or refused.
    """
    from mainspring.loop.narrator import Silent, Terminal
    from mainspring.loop.table import load_split
    from mainspring.loop.turn import Request, turn
    from mainspring.training.libraries import require_libraries

    click.get_current_context().ensure_object(dict)["as_json"] = as_json
    # Better than to find out after the platform was started and the table imported.
    require_libraries()
    narrator = Silent() if as_json else Terminal(sys.stdout)
    split = load_split(data, target, time=time, key=key, label_delay=label_delay, options=options)
    request = Request(name=name or _name_of(data), metric=metric, seed=seed)
    report = turn(load_settings({"home": home}).settings, split, request, narrator)
    if as_json:
        show(report, as_json=True)


def _name_of(data: Path) -> str:
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in data.stem.lower()).strip("-")
    return name[:64] or "table"
