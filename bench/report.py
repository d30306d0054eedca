"""What every bench writes: a table on the terminal and ``bench/results/<area>.json``.

Lower is better unless the unit says ``/s``. A goal that is missed is printed as missed.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One measured piece of work.

    ``peer_value`` and ``floor`` were measured in the same run. ``goal`` is the bound that ``ours`` must keep, in the
    same unit, and ``held`` tells whether it does; a line without a goal only informs.
    """

    work: str
    ours: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    floor: float | None = None
    goal: float | None = None
    held: bool | None = None


def line(
    work: str,
    ours: float,
    unit: str,
    *,
    peer: str | None = None,
    peer_value: float | None = None,
    floor: float | None = None,
    goal: float | None = None,
) -> Line:
    """Make a line, and judge it by its goal."""
    held = None
    if goal is not None:
        held = ours >= goal if "/s" in unit else ours <= goal
    numbers = [None if value is None else float(f"{value:.4g}") for value in (ours, peer_value, floor, goal)]
    shown, theirs, least, bound = numbers
    assert shown is not None
    return Line(work=work, ours=shown, unit=unit, peer=peer, peer_value=theirs, floor=least, goal=bound, held=held)


def report(area: str, lines: list[Line], *, write: bool = True, parts: bool = False) -> bool:
    """Print the lines and *write* them; gives whether every goal was held.

    An area that is measured in *parts* keeps what was written before of other work.
    """
    table = Table(title=f"bench {area}")
    for title in ("work", "ours", "unit", "peer", "its value", "ratio", "floor", "goal", ""):
        table.add_column(title, justify="left" if title in ("work", "unit", "peer", "") else "right")
    for one in lines:
        verdict = {True: "[green]held", False: "[bold red]MISSED", None: ""}[one.held]
        values = [_shown(value) for value in (one.peer_value, _ratio(one), one.floor, one.goal)]
        table.add_row(one.work, _shown(one.ours), one.unit, one.peer or "", *values, verdict)
    console = Console()
    # Into a file or a pipe the table is as wide as it needs to be.
    (console if console.is_terminal else Console(width=200)).print(table)
    if write:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"{area}.json"
        known = msgspec.json.decode(file.read_bytes(), type=list[Line]) if parts and file.is_file() else []
        kept = {one.work: one for one in known} | {one.work: one for one in lines}
        file.write_bytes(msgspec.json.format(msgspec.json.encode(list(kept.values())), indent=1) + b"\n")
    return all(one.held is not False for one in lines)


def _ratio(one: Line) -> float | None:
    """How many times better ours is than the peer."""
    if one.peer_value is None or not one.peer_value or not one.ours:
        return None
    return one.ours / one.peer_value if "/s" in one.unit else one.peer_value / one.ours


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
