"""What is known of media: the bytes are artifacts of the run."""

from __future__ import annotations

from typing import Literal

import msgspec

MediaKind = Literal["image", "audio", "table", "figure", "html", "text", "histogram", "object3d", "graph", "file"]
Fact = str | int | float | bool | None

MAX_ITEMS = 1_000
MAX_CAPTION_CHARS = 8_000


class MediaItem(msgspec.Struct, frozen=True):
    """One thing to look at or to listen to, logged under a key at a step; ``path`` is the artifact that holds it.

    Of several at one step, ``number`` is the place in their order. ``shape`` is that of its values (height, width,
    channels; samples, channels; rows, columns), and ``facts`` what else belongs to its kind, such as a sample rate.
    """

    key: str
    step: int
    kind: MediaKind
    path: str
    digest: str
    size: int
    number: int = 0
    at_us: int = 0
    caption: str | None = None
    shape: list[int] = []
    facts: dict[str, Fact] = {}


class MediaKey(msgspec.Struct, frozen=True):
    """A sequence of media: what was logged under one key."""

    key: str
    kind: MediaKind
    items: int
    first_step: int
    last_step: int


class MediaPage(msgspec.Struct, frozen=True):
    """Media in the order of key, step and number; ``next_page`` is handed back to get those that follow."""

    items: list[MediaItem]
    next_page: str | None = None
