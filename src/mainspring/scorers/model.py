"""What is kept of a scorer."""

from __future__ import annotations

from datetime import datetime

import msgspec

from mainspring.core.refs import ref

MAX_NAME_CHARS = 256
MAX_DEFINITION_CHARS = 4_000_000


class ScorerVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a scorer of an experiment. ``scorer`` is the id that all its versions share.

    ``definition`` is JSON that whoever uses the scorer makes an object of.
    """

    scorer: str
    experiment: str
    name: str
    version: int
    definition: str
    created: datetime

    @property
    def ref(self) -> str:
        """Give the ref of this version."""
        return ref("scorer", self.scorer, self.version)


class OnlineScoring(msgspec.Struct, frozen=True, kw_only=True):
    """Which share of an experiment's new traces a scorer is meant to judge, and which of them (``where``)."""

    id: str
    scorer: str
    experiment: str
    sample_rate: float
    where: str | None = None
