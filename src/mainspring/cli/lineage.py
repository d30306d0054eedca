"""``mainspring lineage`` and ``mainspring events``."""

from __future__ import annotations

from typing import Literal

import click

from mainspring.cli.output import show
from mainspring.cli.target import Target, common_options
from mainspring.lineage.model import Trace


@click.command()
@click.argument("ref")
@click.option("--up", "direction", flag_value="up", default="up", help="What it was made from (the default).")
@click.option("--down", "direction", flag_value="down", help="What was made from it.")
@click.option("--depth", default=32, show_default=True, help="How many steps to follow.")
@common_options
def lineage(target: Target, as_json: bool, ref: str, direction: Literal["up", "down"], depth: int) -> None:
    """Show the lineage of REF, such as model:churn@3, dataset:trips@1 or prediction:01J..."""
    with target.session() as session:
        trace = session.trace(ref, direction, depth)
    if as_json:
        show(trace, as_json=True)
        return
    _draw(trace)


def _draw(trace: Trace) -> None:
    children: dict[str, list[tuple[str, str]]] = {}
    for edge in trace.edges:
        near, far = (edge.target, edge.source) if trace.direction == "up" else (edge.source, edge.target)
        children.setdefault(near, []).append((far, edge.kind))
    shown: set[str] = set()

    def draw(ref: str, indent: str, note: str) -> None:
        again = ref in shown and ref in children
        click.echo(f"{indent}{ref}{note}{'  (shown above)' if again else ''}")
        if again:
            return
        shown.add(ref)
        for child, kind in children.get(ref, []):
            draw(child, indent + "  ", f"  <- {kind}" if trace.direction == "up" else f"  -> {kind}")

    draw(trace.ref, "", "")
    if trace.cut:
        click.echo("... there is more; name a nearer ref or a smaller --depth")


@click.command()
@click.option("--ref", default=None, help="Only events that name this ref.")
@click.option("--kind", default=None, help="Only this kind, such as ModelRegistered.")
@click.option("--limit", default=50, show_default=True)
@common_options
def events(target: Target, as_json: bool, ref: str | None, kind: str | None, limit: int) -> None:
    """List the newest events first: who did what, when and from where."""
    with target.session() as session:
        found = session.lineage.events(ref, kind, limit)
    if as_json:
        show(found, as_json=True)
        return
    rows = [
        {"id": e.id, "at": e.at[:19], "actor": e.actor, "origin": e.origin, "event": e.kind, "made": ", ".join(e.makes)}
        for e in found
    ]
    show(rows, as_json=False)
