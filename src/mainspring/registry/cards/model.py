"""What is kept of cards, and what is told of the run that a version came from."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of the card of a version: Markdown, with YAML front matter for programs."""

    model: str
    revision: int
    text: str
    at: datetime
    actor: str


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a version with the digest of its content."""

    path: str
    digest: str
    size: int


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a card says of a run: who ran which code on what, with which parameters, and how good it was."""

    ref: str
    name: str
    experiment: str
    user: str | None = None
    started: datetime | None = None
    commit: str | None = None
    dirty: bool = False
    params: dict[str, str] = {}
    metrics: dict[str, float] = {}
    datasets: list[str] = []
    python: str | None = None
    platform: str | None = None
    packages: list[str] = []


class Runs(Protocol):
    """Tells of runs what is known of them."""

    def facts(self, run: str) -> RunFacts | None: ...
