"""Follow the lineage up to the sources or down to what was touched, and read the journal of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.events import Edge, Recorded
from mainspring.core.operations import operation
from mainspring.core.refs import Ref
from mainspring.lineage.model import Direction, Trace
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import edges_down, edges_up, latest_events

_MAX_EDGES = 10_000
_BATCH = 500  # SQLite allows 32,766 variables in a statement; a smaller batch keeps the plans cheap.


class Lineage:
    """Answers where a thing came from and what it touched."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @operation("GET /lineage")
    def trace(self, ref: str, direction: Direction = "up", depth: int = 32, limit: int = 1000) -> Trace:
        """Follow the edges from *ref* up (what it was made from), down (what was made from it), or both ways.

        Raises InvalidRequest for a malformed ref or limit and NotFound when no event ever named the ref.
        """
        start = str(Ref.parse(ref))
        if not 1 <= limit <= _MAX_EDGES or depth < 1:
            raise InvalidRequest(f"limit must be from 1 to {_MAX_EDGES} and depth at least 1")
        edges: dict[Edge, None] = {}
        with self.database.read() as connection:
            if direction in ("up", "both"):
                self._walk(start, lambda refs: edges_up(connection, refs), True, depth, edges)
            if direction in ("down", "both"):
                self._walk(start, lambda refs: edges_down(connection, refs), False, depth, edges)
            if not edges and not latest_events(connection, ref=start, limit=1):
                raise NotFound(f"no event names {start}; list the events with `mainspring events`", ref=start)
        found = list(edges)
        return Trace(start, direction, found[:limit], len(found) > limit)

    def _walk(
        self, start: str, step: Callable[[list[str]], list[Edge]], up: bool, depth: int, edges: dict[Edge, None]
    ) -> None:
        seen, border = {start}, [start]
        for _ in range(depth):
            found = [edge for part in _batches(border) for edge in step(part)]
            edges.update(dict.fromkeys(found))
            ends = dict.fromkeys(edge.source if up else edge.target for edge in found)
            border = [ref for ref in ends if ref not in seen]
            seen.update(border)
            if not border or len(edges) > _MAX_EDGES:
                return

    @operation("GET /events")
    def events(self, ref: str | None = None, kind: str | None = None, limit: int = 50) -> list[Recorded]:
        """List the newest events first: who did what, when and from where. *ref* keeps those that name it."""
        if not 1 <= limit <= 1000:
            raise InvalidRequest("limit must be from 1 to 1000")
        with self.database.read() as connection:
            return latest_events(connection, ref=ref, kind=kind, limit=limit)


def _batches(refs: list[str]) -> Iterable[list[str]]:
    return (refs[start : start + _BATCH] for start in range(0, len(refs), _BATCH))
