"""How the entries of a run logger get to the platform: in order, as often as it takes, with one effect."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mainspring.client.entries import OBJECTS, Alerted, Batch, Content, End, Entry, File, Origin, Shown, Start, decode
from mainspring.client.keeping import KeptFiles
from mainspring.core.errors import Forbidden, MainspringError, NotFound, Unauthenticated, Unavailable
from mainspring.runtime.spool import Position, SpoolReader
from mainspring.tracking.model import Metric

if TYPE_CHECKING:
    from mainspring.storage.objects.store import ObjectStore
    from mainspring.tracking.alerts.service import Alerts
    from mainspring.tracking.media.service import Media
    from mainspring.tracking.service import Tracking

MAX_REFUSED = 1_000
_FIRST_PAUSE_S = 0.25
_MAX_PAUSE_S = 30.0
_log = logging.getLogger("mainspring.client")


class Receiver(Protocol):
    """What takes in what was logged: a session, or the part of one that is needed for it."""

    @property
    def tracking(self) -> Tracking: ...

    @property
    def media(self) -> Media: ...

    @property
    def alerts(self) -> Alerts: ...

    @property
    def objects(self) -> ObjectStore: ...

    def close(self) -> None: ...


class Link:
    """The way to a platform, which is opened when something is sent for the first time."""

    def __init__(self, open: Callable[[], Receiver], *, owned: bool = True, command: Sequence[str] = ()) -> None:
        """Reach the platform by *open*; one that is not *owned* stays open when this link is closed.

        *command* is what to add to ``mainspring sync`` so that another process reaches the same platform.
        """
        self._open, self._owned, self._command = open, owned, command
        self._lock = threading.Lock()
        self._receiver: Receiver | None = None
        self._closed = threading.Event()

    @property
    def opened(self) -> bool:
        """Tell whether the platform could be opened already."""
        return self._receiver is not None or not self._command

    def receiver(self) -> Receiver:
        """Give the platform; raises what opening it raises, and tries again the next time."""
        with self._lock:
            if self._closed.is_set():
                raise Unavailable("the way to the platform is closed")
            if self._receiver is None:
                try:
                    self._receiver = self._open()
                except (RuntimeError, ImportError) as error:  # An interpreter that ends imports nothing any more.
                    raise Unavailable(f"the platform cannot be opened: {error}") from error
            if not self._closed.is_set():
                return self._receiver
        self.close()
        raise Unavailable("the way to the platform was closed")

    def close(self) -> None:
        """Let go of the platform, and do not open it again."""
        self._closed.set()
        if self._lock.acquire(blocking=False):  # Else it is being opened, and closed right after.
            try:
                if self._receiver is not None and self._owned:
                    self._receiver.close()
                self._receiver = None
            finally:
                self._lock.release()

    def send_by_another(self, folder: Path, timeout_s: float) -> bool:
        """Have another process send a folder, as this one ends too soon to do so; tells whether it did."""
        command = [sys.executable, "-m", "mainspring", "sync", str(folder), "--json", *self._command]
        with suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(command, capture_output=True, timeout=timeout_s, check=False).returncode == 0
        return False


class Sender:
    """Sends one logger's entries in order; goes on where it stopped. What was refused for good goes to *refused*."""

    def __init__(self, link: Link, folder: Path, refused: deque[str], sent: int, *, keep: bool = False) -> None:
        self.link = link
        self.sent = sent
        self.entries = self.points = self.files = 0
        self.trouble = ""
        self.retry_at = 0.0
        self.unknown = False
        self.last: Entry | None = None
        self._name, self._keep = folder.name, keep
        self._reader = SpoolReader(folder)
        self._position: Position | None = None
        self._refused = refused
        self._pause_s = _FIRST_PAUSE_S
        self._files = KeptFiles(folder / OBJECTS)

    def send(self) -> bool:
        """Send what is there; False when something is left because of an outage, which is waited out by later calls."""
        if time.monotonic() < self.retry_at:
            return False
        for batch in self._reader.batches([self._position] if self._position else []):
            if batch.damage is not None:
                _log.warning("%s: %d bytes cannot be read: %s", self._name, batch.damage.bytes, batch.damage.quarantine)
            fresh = batch.after(self.sent)
            for number, record in enumerate(fresh.records, fresh.first):
                entry = decode(record)
                if not self._delivered(entry, number):
                    return False
                self.sent, self.last = number, entry
            self._position = batch.end
            if not self._keep:
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
            self.entries += 1
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
        receiver = self.link.receiver()
        tracking = receiver.tracking
        if isinstance(entry, Batch):
            metrics = [Metric(*metric) for metric in entry.metrics]
            writer = None if number is None else self._name
            tracking.log_batch(entry.run, metrics, entry.params, entry.tags, writer=writer, sequence=number or 0)
            self.points += len(metrics)
        elif isinstance(entry, Start):
            run = tracking.create_run(
                entry.experiment, entry.name, entry.parent, entry.params, entry.tags, entry.started, run=entry.run
            )
            if entry.resume and run.status != "running":
                tracking.resume_run(entry.run)
        elif isinstance(entry, Origin):
            if entry.environment is not None:
                tracking.record_environment(entry.run, entry.environment)
            if entry.code is not None:
                tracking.record_code(entry.run, entry.code)
        elif isinstance(entry, Content):
            tracking.put_artifact(entry.run, entry.path, entry.data)
            self.files += 1
        elif isinstance(entry, File):
            self._send_file(receiver, entry)
            self.files += 1
        elif isinstance(entry, Shown):
            receiver.media.log_media(entry.run, entry.items)
        elif isinstance(entry, Alerted):
            receiver.alerts.raise_alert(
                entry.run, entry.title, entry.text, entry.level, entry.raised, writer=self._name, sequence=number or 0
            )
        elif isinstance(entry, End):
            tracking.finish_run(entry.run, entry.status, entry.ended)

    def _send_file(self, receiver: Receiver, entry: File) -> None:
        # Equal content was perhaps sent for an earlier entry, and is not kept here any more.
        if not receiver.objects.exists(entry.digest):
            receiver.objects.put_file(self._files.path(entry.digest))
        receiver.tracking.log_artifact(entry.run, entry.path, entry.digest)
        if not self._keep:
            self._files.remove(entry.digest)


def _raise_again_if_passing(error: MainspringError) -> None:
    # A run that is not found may be one whose start is still in another logger's spool.
    # Nor is anything lost because a token has expired.
    if error.retryable or error.status >= 500 or isinstance(error, NotFound | Unauthenticated | Forbidden):
        raise error


def _parts(entry: Entry) -> list[Batch]:
    if not isinstance(entry, Batch):
        return []
    parts = [Batch(entry.run, [], {key: value}, {}) for key, value in entry.params.items()]
    if entry.metrics or entry.tags:
        parts.append(Batch(entry.run, entry.metrics, {}, entry.tags))
    return parts
