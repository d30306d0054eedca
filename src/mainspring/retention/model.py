"""What is to be removed for good, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec


class Wanted(NamedTuple):
    """What a collection takes: what was deleted until *before*, of these experiments and runs (None: of all), by id."""

    before: datetime
    experiments: Sequence[str] | None = None
    runs: Sequence[str] | None = None

    @property
    def everything(self) -> bool:
        """Tell whether nothing was named."""
        return self.experiments is None and self.runs is None


class Garbage(msgspec.Struct, frozen=True, kw_only=True):
    """What a call removed, or what a dry run would have.

    ``object_bytes`` were held by ``objects`` that nothing refers to any more; ``database_bytes`` went back to the disk.
    Unless ``finished``, there is more: the next call goes on where this one stopped.
    """

    dry_run: bool
    experiments: int = 0
    runs: int = 0
    logged_models: int = 0
    traces: int = 0
    metric_points: int = 0
    other_rows: int = 0
    objects: int = 0
    object_bytes: int = 0
    database_bytes: int = 0
    finished: bool = True

    @classmethod
    def counting(cls, counts: Mapping[str, int], *, dry_run: bool = False) -> Garbage:
        """Give what has these counts, by the names of the fields."""
        return msgspec.convert({"dry_run": dry_run, **counts}, cls)

    def __add__(self, other: Garbage) -> Garbage:
        """Give what both removed; whether all is finished, the later one knows."""
        counts = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__struct_fields__
            if name not in ("dry_run", "finished")
        }
        return msgspec.structs.replace(Garbage.counting(counts, dry_run=self.dry_run), finished=other.finished)
