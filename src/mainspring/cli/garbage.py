"""``mainspring gc``."""

from __future__ import annotations

import sys

import click

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.cli.verbs import names_given

_TURN_S = 2.0


@click.command("gc")
@click.option("--older-than", default=None, metavar="DURATION", help="30d by default, nothing for what is named.")
@click.option("--experiments", default=None, metavar="A,B", help="Only these deleted experiments, by name or id.")
@click.option("--runs", default=None, metavar="ID,ID", help="Only these deleted runs.")
@click.option("--object-age", default="1d", metavar="DURATION", help="Keep objects that were stored this recently.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@common_options
def collect(
    target: Target,
    as_json: bool,
    older_than: str | None,
    experiments: str | None,
    runs: str | None,
    object_age: str,
    dry_run: bool,
) -> None:
    """Remove for good what was deleted, then the objects that nothing refers to, and give the space back.

    An experiment goes with its runs, traces and logged models, and its name is free at once. It may be interrupted: the
    next one goes on where it stopped.
    """
    names, ids = names_given(experiments), names_given(runs)
    with target.session() as session:
        found = session.garbage.collect_garbage(older_than, names, ids, dry_run, object_age, _TURN_S)
        while not found.finished:
            if sys.stderr.isatty():
                click.echo(
                    f"\r{found.runs} runs, {found.metric_points} points, {found.objects} objects", err=True, nl=False
                )
            # What was named is condemned since the first turn.
            if names is not None or ids is not None:
                names, ids = [], []
            found += session.garbage.collect_garbage(older_than, names, ids, False, object_age, _TURN_S)
    show(found, as_json=as_json)
