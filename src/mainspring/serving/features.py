"""What serving needs of the feature store: the newest values of some keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from mainspring.core.errors import NotFound


class FeatureReader(Protocol):
    """Reads the online rows of a feature view; features' online store keeps it in the data plane."""

    def read(self, view: str, keys: Sequence[Any]) -> list[dict[str, Any] | None]:
        """Give the newest row of each key, None where there is none; raises NotFound for an unknown view."""
        ...


class FeatureAnswer(msgspec.Struct, frozen=True):
    """The rows of a feature view, in the order of the keys that were asked for."""

    view: str
    rows: list[dict[str, Any] | None]


class NoFeatures:
    """The reader of a worker without an online store: it knows no view."""

    def read(self, view: str, keys: Sequence[Any]) -> list[dict[str, Any] | None]:
        """Raise NotFound."""
        raise NotFound(
            f"there is no online store here, so {view!r} cannot be read; materialise the view first", view=view
        )
