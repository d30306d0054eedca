"""What a feature view is: a versioned way from the events of a dataset to the features of a key at an instant."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from mainspring.core.refs import ref

Aggregate = Literal["last", "count", "sum", "mean", "min", "max"]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature: a column of the dataset and what is made of its values in the interval ``(t - window, t]``.

    ``last`` is the value of the latest event, which may be missing; of events at the same instant the one that stands
    later in the dataset counts. The others leave missing values out: without any, ``count`` is 0 and the rest missing.
    Without a window (a duration such as ``7d``) the interval is the view's ``max_age``, or everything up to t.
    """

    name: str
    column: str
    aggregate: Aggregate = "last"
    window: str | None = None


class FeatureView(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version of a feature view.

    At an instant t a key has the features of its events with event time <= t: an event at exactly t is known, a later
    one never is. ``dataset`` is a ref; without a version, it is the latest at the time of use.
    """

    name: str
    version: int
    dataset: str
    keys: list[str]
    time_column: str
    features: list[Feature]
    max_age: str | None
    created: datetime

    @property
    def ref(self) -> str:
        """Give ``feature_view:name@version``."""
        return ref("feature_view", self.name, self.version)


class Materialisation(msgspec.Struct, frozen=True, kw_only=True):
    """The features of every key as of one instant, written where they can be read online."""

    view: str
    version: int
    until: datetime
    dataset: str
    keys: int
    created: datetime


class OnlineRow(msgspec.Struct, frozen=True):
    """What is known online of one key: the features in the order of the view, or None for a key that is unknown.

    ``event_time`` is that of its latest event, ``as_of`` the instant of the materialisation.
    """

    key: list[str | int | bool]
    values: dict[str, str | int | float | bool | None] | None
    event_time: datetime | None
    as_of: datetime | None
