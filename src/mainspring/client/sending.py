"""What a run logger keeps on disk, and how it gets to tracking: in order, as often as it takes, with one effect."""

from __future__ import annotations

import fcntl
import logging
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mainspring.core.errors import MainspringError, NotFound
from mainspring.runtime.spool import Position, SpoolReader
from mainspring.runtime.spool_writer import is_abandoned
from mainspring.tracking.model import Environment, Metric, RunEnd, SourceCode

if TYPE_CHECKING:
    from mainspring.tracking.service import Tracking

WRITER = "log"
_FIRST_PAUSE_S = 0.25
_MAX_PAUSE_S = 30.0
_log = logging.getLogger("mainspring.client")


class Start(msgspec.Struct, frozen=True, tag="start"):
    """The run began; its id was made here, so that nobody has to be asked."""

    run: str
    experiment: str
    name: str | None
    parent: str | None
    params: dict[str, str]
    tags: dict[str, str]
    started: datetime


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """What was logged; a metric is (key, value, step, microseconds since 1970)."""

    run: str
    metrics: list[tuple[str, float, int, int]]
    params: dict[str, str]
    tags: dict[str, str]


class Origin(msgspec.Struct, frozen=True, tag="origin"):
    """Where the run happens, and of which code."""

    run: str
    environment: Environment
    code: SourceCode | None


class End(msgspec.Struct, frozen=True, tag="end"):
    """The run ended."""

    run: str
    status: RunEnd
    ended: datetime


Entry = Start | Origin | Batch | End
encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Entry)


def send_spooled(tracking: Tracking, spool: Path) -> int:
    """Send what loggers that have ended could not send; gives how many of them are settled now.

    What is for a run that this platform does not know stays where it is.
    """
    settled = 0
    with _alone(spool) as alone:
        for folder in sorted(spool.glob(f"*.*/{WRITER}")) if alone else []:
            if not is_abandoned(folder):
                continue
            sender = Sender(tracking, folder.parent, [], 0)
            if sender.send():
                shutil.rmtree(folder.parent, ignore_errors=True)
                settled += 1
            elif not sender.unknown:
                break
    return settled


@contextmanager
def _alone(spool: Path) -> Iterator[bool]:
    """Tell whether no other process sends from this spool, and keep it so."""
    spool.mkdir(parents=True, exist_ok=True)
    with (spool / "sending").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


class Sender:
    """Sends one logger's records in order; goes on where it stopped."""

    def __init__(self, tracking: Tracking, folder: Path, refused: list[str], sent: int) -> None:
        self.tracking = tracking
        self.sent = sent
        self.trouble = ""
        self.retry_at = 0.0
        self.unknown = False
        self._name = folder.name
        self._reader = SpoolReader(folder)
        self._position: Position | None = None
        self._refused = refused
        self._pause_s = _FIRST_PAUSE_S

    def send(self) -> bool:
        """Send what is there; False when something is left because of an outage, which is waited out by later calls."""
        if time.monotonic() < self.retry_at:
            return False
        for batch in self._reader.batches([self._position] if self._position else []):
            if batch.damage is not None:
                _log.warning("%s: %d bytes cannot be read: %s", self._name, batch.damage.bytes, batch.damage.quarantine)
            fresh = batch.after(self.sent)
            for number, record in enumerate(fresh.records, fresh.first):
                if not self._delivered(_decoder.decode(record), number):
                    return False
                self.sent = number
            self._position = batch.end
            self._reader.release(batch.end)
        return True

    def _delivered(self, entry: Entry, number: int) -> bool:
        try:
            self._deliver(entry, number)
        except MainspringError as outage:
            self.trouble, self.unknown = str(outage), isinstance(outage, NotFound)
            self.retry_at = time.monotonic() + self._pause_s * random.uniform(0.8, 1.2)
            self._pause_s = min(self._pause_s * 2, _MAX_PAUSE_S)
            return False
        self._pause_s = _FIRST_PAUSE_S
        return True

    def _deliver(self, entry: Entry, number: int) -> None:
        """Send an entry, or note what cannot be logged; the good parts of a batch are then sent apart.

        Each of these may safely come twice, so they need no number. Raises only what a later attempt may mend.
        """
        try:
            self._send(entry, number)
        except MainspringError as error:
            _raise_again_if_passing(error)
            parts = _parts(entry)
            if len(parts) < 2:
                self._refuse(error)
                return
            for part in parts:
                try:
                    self._send(part, None)
                except MainspringError as again:
                    _raise_again_if_passing(again)
                    self._refuse(again)

    def _refuse(self, error: MainspringError) -> None:
        self._refused.append(str(error))
        _log.warning("refused: %s", error)

    def _send(self, entry: Entry, number: int | None) -> None:
        tracking = self.tracking
        if isinstance(entry, Batch):
            metrics = [Metric(*metric) for metric in entry.metrics]
            writer = None if number is None else self._name
            tracking.log_batch(entry.run, metrics, entry.params, entry.tags, writer=writer, sequence=number or 0)
        elif isinstance(entry, Start):
            tracking.create_run(
                entry.experiment, entry.name, entry.parent, entry.params, entry.tags, entry.started, run=entry.run
            )
        elif isinstance(entry, Origin):
            tracking.record_environment(entry.run, entry.environment)
            if entry.code is not None:
                tracking.record_code(entry.run, entry.code)
        else:
            tracking.finish_run(entry.run, entry.status, entry.ended)


def _raise_again_if_passing(error: MainspringError) -> None:
    # A run that is not found may be one whose start is still in another logger's spool.
    if error.retryable or error.status >= 500 or isinstance(error, NotFound):
        raise error


def _parts(entry: Entry) -> list[Batch]:
    if not isinstance(entry, Batch):
        return []
    parts = [Batch(entry.run, [], {key: value}, {}) for key, value in entry.params.items()]
    if entry.metrics or entry.tags:
        parts.append(Batch(entry.run, entry.metrics, {}, entry.tags))
    return parts
