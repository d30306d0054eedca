"""What serving needs of the feature store: the newest values of some keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class FeatureReader(Protocol):
    """Reads the online rows of a feature view; features' online store keeps it in the data plane."""

    def read(self, view: str, keys: Sequence[Any], at_us: int | None = None) -> list[dict[str, Any] | None]:
        """Give the newest row of each key, None where there is none; raises NotFound for an unknown view.

        Values that have come to their maximum age at *at_us* (microseconds since 1970; None: now) are missing.
        """
        ...


class FeatureAnswer(msgspec.Struct, frozen=True):
    """The rows of a feature view, in the order of the keys that were asked for."""

    view: str
    rows: list[dict[str, Any] | None]
