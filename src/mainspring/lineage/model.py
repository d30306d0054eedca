"""The values of lineage."""

from __future__ import annotations

from typing import Literal

import msgspec

from mainspring.core.events import Edge

Direction = Literal["up", "down", "both"]


class Trace(msgspec.Struct, frozen=True):
    """The part of the lineage that is reached from one ref.

    ``edges`` are in breadth-first order from the ref; ``cut`` tells that there was more than the limit allowed.
    """

    ref: str
    direction: Direction
    edges: list[Edge]
    cut: bool = False
