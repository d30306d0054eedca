"""What keeps experiments and runs in order; most of it is kept as tags, which every client sees and sets."""

from __future__ import annotations

from typing import Literal

import msgspec

from mainspring.tracking.model import Experiment

GROUP, STARRED, ARCHIVED = "mainspring.group", "mainspring.starred", "mainspring.archived"
NOTE, RUN_NAME = "mlflow.note.content", "mlflow.runName"

Archived = Literal["hidden", "shown", "only"]
"""What a listing does with that which was archived."""


class ExperimentPage(msgspec.Struct, frozen=True):
    """Experiments that were found; ``next_page`` is handed back to get those that follow, None at the end."""

    experiments: list[Experiment]
    next_page: str | None = None


class Folder(msgspec.Struct, frozen=True):
    """A folder of experiments: its path, and how many experiments are in it and in its own folders."""

    path: str
    experiments: int


class RunGroup(msgspec.Struct, frozen=True):
    """The runs of an experiment that belong together, by the name that was given to them."""

    name: str
    experiment: str
    runs: int
