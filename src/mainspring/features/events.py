"""What happened to feature views."""

from __future__ import annotations

from datetime import datetime

from mainspring.core.events import Event
from mainspring.core.refs import ref


class FeatureViewDefined(Event, frozen=True, kw_only=True):
    """A version of a feature view was defined."""

    view: str
    version: int
    dataset: str

    def reads(self) -> list[str]:
        """Name the dataset."""
        return [self.dataset]

    def makes(self) -> list[str]:
        """Name the view."""
        return [ref("feature_view", self.view, self.version)]


class FeaturesMaterialised(Event, frozen=True, kw_only=True):
    """The features of every key as of an instant were written where they can be read online."""

    view: str
    version: int
    dataset: str
    until: datetime
    keys: int

    def reads(self) -> list[str]:
        """Name the version of the dataset."""
        return [self.dataset]

    def makes(self) -> list[str]:
        """Name the view."""
        return [ref("feature_view", self.view, self.version)]
