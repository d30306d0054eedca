"""Which stage a model version is in, told from what its releases went through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from mainspring.releases.model import Action

Stage = Literal["staging", "production", "archived", "rolled_back"]

_CAME: dict[Action, Stage] = {
    "deployed": "production",
    "canary_started": "staging",
    "canary_grown": "staging",
    "canary_promoted": "production",
    "canary_dropped": "rolled_back",
    "rolled_back": "production",
}
_WENT: dict[Action, Stage] = {"deployed": "archived", "canary_promoted": "archived", "rolled_back": "rolled_back"}


class Move(NamedTuple):
    """One change of an endpoint: the model that it was about, and the model that it replaced."""

    endpoint: str
    action: Action
    model: str
    replaced: str | None


def stages_after(moves: Iterable[Move]) -> dict[str, Stage]:
    """Give the stage of each model after these moves, the oldest first.

    A model that several endpoints have had is in production while one serves it, in staging while one tries it, and
    otherwise where it was put last.
    """
    found: dict[str, dict[str, Stage]] = {}
    for move in moves:
        if move.replaced is not None and move.action in _WENT:
            _put(found, move.replaced, move.endpoint, _WENT[move.action])
        _put(found, move.model, move.endpoint, _CAME[move.action])
    return {model: _strongest(list(places.values())) for model, places in found.items()}


def _put(found: dict[str, dict[str, Stage]], model: str, endpoint: str, stage: Stage) -> None:
    places = found.setdefault(model, {})
    places.pop(endpoint, None)  # What was put last stands last.
    places[endpoint] = stage


def _strongest(stages: list[Stage]) -> Stage:
    for stage in ("production", "staging"):
        if stage in stages:
            return stage
    return stages[-1]
