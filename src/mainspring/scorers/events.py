"""What happened to scorers."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref


class ScorerRegistered(Event, frozen=True, kw_only=True):
    """A version of a scorer was registered."""

    scorer: str
    experiment: str
    name: str
    version: int

    def makes(self) -> list[str]:
        """Name the version."""
        return [ref("scorer", self.scorer, self.version)]


class ScorerDeleted(Event, frozen=True, kw_only=True):
    """A version of a scorer, or without one the whole scorer, was deleted."""

    scorer: str
    name: str
    version: int | None = None

    def makes(self) -> list[str]:
        """Name what was deleted."""
        return [ref("scorer", self.scorer, self.version)]


class OnlineScoringSet(Event, frozen=True, kw_only=True):
    """It was said which traces a scorer is meant to judge."""

    scorer: str
    sample_rate: float
    where: str | None

    def makes(self) -> list[str]:
        """Name the scorer."""
        return [ref("scorer", self.scorer)]
