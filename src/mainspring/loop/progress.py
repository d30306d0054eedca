"""How far a turn is, kept after each window: when its process is killed, the same command goes on from there."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec

from mainspring.loop.model import Alarm, Decision, Retraining, WindowQuality
from mainspring.loop.table import Split
from mainspring.loop.traffic import Served
from mainspring.loop.wire import Reply
from mainspring.storage.durable import replace_file

_STATE = "progress.json"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A turn after its last whole window; ``seconds`` is the time that it took so far."""

    fingerprint: str
    name: str
    dataset: str
    champion: str
    windows: list[WindowQuality]
    notes: list[str]
    alarms: list[Alarm]
    retrainings: list[Retraining]
    decisions: list[Decision]
    posted: int
    told: list[tuple[str, str, str]]
    checked: list[str]
    regular: bool
    stages: dict[str, float]
    seconds: float


class Part(msgspec.Struct, frozen=True):
    """The traffic of one window."""

    served: list[Served]
    replies: list[Reply]


def fingerprint(split: Split, wanted: Any) -> str:
    """Give what tells one turn from another: the rows in their order, and everything that was asked for."""
    rows = [int(frame.hash_rows(seed=1).implode().hash(seed=1)[0]) for frame in (split.earlier, split.later)]
    asked = [split.target, split.time, split.key, split.known_after[-1:], sum(split.known_after), wanted]
    return hashlib.sha256(msgspec.json.encode([rows, asked, split.earlier.columns])).hexdigest()[:32]


class Journal:
    """The folder of one turn under HOME/loop."""

    def __init__(self, home: Path, name: str) -> None:
        self._folder = home / "loop" / name

    def write(self, progress: Progress, part: Part) -> None:
        """Keep the traffic of the last window, then say that the window is done."""
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._folder / f"window-{len(progress.windows) - 1:04d}.msgpack", msgspec.msgpack.encode(part))
        replace_file(self._folder / _STATE, msgspec.json.encode(progress))

    def parts(self, progress: Progress) -> list[Part]:
        """Give the traffic of the windows that are done."""
        decode = msgspec.msgpack.Decoder(Part).decode
        return [
            decode((self._folder / f"window-{number:04d}.msgpack").read_bytes())
            for number in range(len(progress.windows))
        ]

    def remove(self) -> None:
        """Forget the turn: it is over."""
        shutil.rmtree(self._folder, ignore_errors=True)


def unfinished(home: Path, wanted: str) -> Progress | None:
    """Find the turn with the fingerprint *wanted* that was begun on this home and did not end."""
    for file in sorted((home / "loop").glob(f"*/{_STATE}")):
        try:
            found = msgspec.json.decode(file.read_bytes(), type=Progress)
        except (OSError, msgspec.MsgspecError):
            # Of another version, or damaged: a turn can always begin anew.
            continue
        if found.fingerprint == wanted:
            return found
    return None
