"""What was logged and is not on its way yet: in memory for half a second, then in a spool on disk, within bounds."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from pathlib import Path

import msgspec

from mainspring.client.entries import DESCRIPTION, OBJECTS, WRITER, Batch, Content, Description, Entry, File, encode
from mainspring.client.keeping import KeptFiles
from mainspring.core.errors import InvalidRequest, OverLimit, Unavailable
from mainspring.core.ids import new_id
from mainspring.runtime.spool import SpoolWriter
from mainspring.storage.durable import replace_file
from mainspring.tracking.model import MAX_METRICS, MAX_PARAMS, MAX_TAGS

MAX_INLINE_BYTES = 256 * 2**10
"""Artifacts up to this size travel with the entries; larger ones are kept as files of their own."""
DROPPED = "mainspring.dropped"
"""The tag that says how many values were lost to a full disk."""
SYNC_INTERVAL_S = 5.0
_MAX_SEGMENT_BYTES = 64 * 2**20
_log = logging.getLogger("mainspring.client")

Point = tuple[str, float, int, int]


class RunQueue:
    """The entries of one logger of one run, in the order in which they were logged."""

    def __init__(self, root: Path, description: Description, *, max_bytes: int) -> None:
        """Make a folder below *root* for at most *max_bytes*; raises Unavailable when it cannot be written."""
        self.run = description.run
        self.folder = root / f"{self.run}.{new_id()}"
        self.metrics: deque[Point] = deque()
        self.texts: deque[tuple[bool, str, str]] = deque()
        self.dropped = 0
        self._told = 0
        self._max_bytes = max_bytes
        self._unwritten: list[bytes] = []
        self._lock = threading.RLock()
        # Room comes free by whole segments, all but the newest.
        segment = min(_MAX_SEGMENT_BYTES, max_bytes // 8)
        self._writer = SpoolWriter(self.folder / WRITER, max_bytes=max_bytes, max_segment_bytes=segment)
        replace_file(self.folder / DESCRIPTION, msgspec.json.encode(description), durable=False)
        self._files = KeptFiles(self.folder / OBJECTS)
        self._file_bytes = 0
        self._synced_at = time.monotonic()

    @property
    def last(self) -> int:
        """Give the number of the last entry that is on disk."""
        return self._writer.last

    def relieve(self) -> None:
        """Move what waits in memory to the disk now; where it has no room, what waits is dropped and counted."""
        try:
            self.write()
        except (Unavailable, OverLimit) as full:
            with self._lock:
                lost = len(self.metrics) + len(self.texts)
                self.metrics.clear()
                self.texts.clear()
                self.lose(lost, full)

    def lose(self, values: int, reason: Exception) -> None:
        """Count values for which there is no room, and say so once."""
        with self._lock:
            if values and not self.dropped:
                _log.warning("run %s: nothing more can be kept, from now on it is lost: %s", self.run, reason)
            self.dropped += values

    def write(self) -> None:
        """Move what waits in memory to the disk; what cannot be written stays, and Unavailable or OverLimit is raised.

        What was written survives the death of this process at once, and a power cut some seconds later.
        """
        with self._lock:
            while self._unwritten or self.metrics or self.texts:
                if not self._unwritten:
                    self._unwritten.append(encode(self._next_batch()))
                self._writer.append_many(self._unwritten)
                self._unwritten.clear()
            if self.dropped > self._told:
                self._writer.append_many([encode(Batch(self.run, [], {}, {DROPPED: str(self.dropped)}))])
                self._told = self.dropped
        if time.monotonic() - self._synced_at >= SYNC_INTERVAL_S and self._writer.synced < self._writer.last:
            self._synced_at = time.monotonic()
            self._writer.sync()

    def append(self, entry: Entry) -> None:
        """Write one entry behind what was logged before; raises Unavailable and OverLimit when there is no room."""
        with self._lock:
            self.write()
            self._writer.append_many([encode(entry)])

    def keep_bytes(self, path: str, data: bytes) -> None:
        """Keep an artifact; raises like `append`."""
        if len(data) <= MAX_INLINE_BYTES:
            self.append(Content(self.run, path, data))
            return
        self._make_room(len(data), path)
        self.append(File(self.run, path, self._files.put_bytes(data)))

    def keep_file(self, path: str, file: Path) -> None:
        """Keep the content that a file has now as an artifact; raises InvalidRequest when there is none."""
        try:
            size = file.stat().st_size
            if size <= MAX_INLINE_BYTES:
                self.append(Content(self.run, path, file.read_bytes()))
                return
            self._make_room(size, path)
            digest = self._files.put_file(file)
        except OSError as error:
            raise InvalidRequest(f"{file} cannot be read: {error.strerror}", file=str(file)) from error
        self.append(File(self.run, path, digest))

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        self._writer.close()

    def forget(self) -> None:
        """Remove the folder, of which everything has arrived."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_room(self, size: int, path: str) -> None:
        if size + self._file_bytes > self._max_bytes:
            self._file_bytes = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        if size + self._file_bytes > self._max_bytes:
            raise OverLimit(
                f"{path!r} has {size} bytes, and {self._file_bytes} of {self._max_bytes} wait already: "
                "let the platform take them in (`mainspring sync`), or raise run_spool_max_bytes",
                path=path,
            )
        self._file_bytes += size

    def _next_batch(self) -> Batch:
        metrics = [self.metrics.popleft() for _ in range(min(len(self.metrics), MAX_METRICS))]
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
        while self.texts and len(params) < MAX_PARAMS and len(tags) < MAX_TAGS:
            is_param, key, text = self.texts.popleft()
            (params if is_param else tags)[key] = text
        return Batch(self.run, metrics, params, tags)
