"""What an alert says."""

from __future__ import annotations

from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest

AlertLevel = Literal["info", "warning", "error"]
MAX_TITLE_CHARS = 250
MAX_TEXT_CHARS = 8_000


class Alert(msgspec.Struct, frozen=True):
    """An alert as it was raised; ``id`` is that of its event in the journal, and ``raised`` when the program did so."""

    id: int
    run: str
    level: AlertLevel
    title: str
    text: str
    raised: str


def check_alert(title: str, text: str) -> None:
    """Raise InvalidRequest for a title or a text that cannot be."""
    if not title.strip() or len(title) > MAX_TITLE_CHARS or len(text) > MAX_TEXT_CHARS or "\0" in title + text:
        raise InvalidRequest(
            f"an alert has a title of 1 to {MAX_TITLE_CHARS} characters, and a text of at most {MAX_TEXT_CHARS}"
        )
