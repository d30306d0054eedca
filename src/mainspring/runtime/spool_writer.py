"""The writing side of the spool: append-only, crash-safe, bounded."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import Conflict, OverLimit, TooLarge, Unavailable, Unsupported
from mainspring.runtime import segments
from mainspring.storage.durable import flush_file, flush_path, write_all

_MAX_RECORD_BYTES = 2**30
_LOCK_WAIT_S = 2.0
_RECOUNT_S = 0.05


class SpoolWriter:
    """Appends records to the segments of one folder. Threads may share it; two processes may not.

    What `append_many` wrote survives the death of the process at once, and a power cut after the next `sync`. With
    ``sync_interval_s`` a thread syncs that often (0: never); without it, call `sync` yourself, off the event loop.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        max_segment_bytes: int = 64 * 2**20,
        max_segment_age_s: float = 60.0,
        max_bytes: int = 4 * 2**30,
        sync_interval_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        """Open the folder (made where it is not there) and begin a new segment.

        Raises Conflict while another process writes here, Unavailable when the folder cannot be written.
        """
        self.folder = Path(folder)
        self._max_segment_bytes, self._max_segment_age_s, self._max_bytes = (
            max_segment_bytes,
            max_segment_age_s,
            max_bytes,
        )
        self._clock = clock or SystemClock()
        self._lock, self._sync_lock = threading.Lock(), threading.Lock()
        self._file: int | None = None
        self._segment = 0
        self._retired: list[int] = []
        self._names_changed = False
        self._failure: str | None = None
        self._counted_at = -1.0
        self._size = 0
        self._began = 0.0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._guard: int | None = _lock_folder(self.folder)
        except OSError as error:
            raise _unavailable(self.folder, error) from error
        try:
            self._next = self._begin_epoch()
        except OSError as error:
            os.close(self._guard)
            raise _unavailable(self.folder, error) from error
        self._synced = self._next - 1
        self._bytes = _bytes_in(self.folder)
        self._closing = threading.Event()
        self._syncer: threading.Thread | None = None
        if sync_interval_s > 0:
            self._syncer = threading.Thread(
                target=self._sync_often, args=(sync_interval_s,), name="spool-sync", daemon=True
            )
            self._syncer.start()

    @property
    def last(self) -> int:
        """Give the number of the last record that was appended."""
        return self._next - 1

    @property
    def synced(self) -> int:
        """Give the number of the last record that is durable."""
        return self._synced

    def append_many(self, records: Sequence[bytes]) -> int:
        """Hand these records to the operating system, all or none; gives the number of the last one.

        Raises OverLimit when the spool holds ``max_bytes`` that nobody took in yet, TooLarge for a record over 1 GiB
        and Unavailable when the disk is full or fails; later calls work again once there is room.
        """
        data = segments.pack_records(records)
        if len(data) > _MAX_RECORD_BYTES:
            raise TooLarge(
                f"{len(data)} bytes in one append to the spool, at most {_MAX_RECORD_BYTES}: append in parts"
            )
        with self._lock:
            self._refuse(len(data))
            if not records:
                return self.last
            try:
                self._rotate_when_due()
                self._write(self._open(), data)
            except OSError as error:
                raise _unavailable(self.folder, error) from error
            self._next += len(records)
            return self.last

    def sync(self) -> int:
        """Make everything appended so far durable; gives the number of the last durable record.

        Raises Unavailable when the disk fails: records after `synced` may then not survive a power cut.
        """
        with self._sync_lock:
            with self._lock:
                number, pending, names = self.last, self._retired, self._names_changed
                self._retired, self._names_changed = [], False
                if self._file is not None:
                    pending.append(self._segment)
            try:
                while pending:
                    self._flush_segment(pending.pop())
                if names:
                    flush_path(self.folder)
            except OSError as error:
                self._distrust(pending, names)
                raise _unavailable(self.folder, error) from error
            self._synced = number
            with self._lock, suppress(OSError):
                self._rotate_when_due()
            return number

    def close(self) -> None:
        """Seal the segment, make it durable and give the folder free. Raises Unavailable like `sync`."""
        if self._guard is None:
            return
        self._closing.set()
        if self._syncer is not None:
            self._syncer.join()
        try:
            with self._lock:
                self._seal()
            self.sync()
        finally:
            os.close(self._guard)
            self._guard = None

    def __enter__(self) -> SpoolWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_epoch(self) -> int:
        # Minutes since 1970 keep the numbers growing even when somebody emptied the folder.
        newest = next(reversed(segments.list_segments(self.folder)), None)
        after = 0 if newest is None else segments.epoch_of(newest) + 1
        first = segments.first_of(max(after, int(self._clock.now().timestamp() // 60)))
        end = 0
        if newest is not None:
            # What another version wrote is for the reader to refuse; appending goes on.
            with suppress(Unsupported):
                end = segments.end_of(segments.segment_file(self.folder, newest).read_bytes(), newest)
        self._create(first, end)
        flush_path(self.folder)
        return first

    def _open(self) -> int:
        return self._create(self._next, self._next) if self._file is None else self._file

    def _create(self, first: int, previous_end: int) -> int:
        path = segments.segment_file(self.folder, first)
        # Truncated, because an earlier attempt of this very writer may have failed between the name and the header.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            write_all(file, segments.pack_header(first, previous_end))
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._file, self._segment = file, first
        self._size, self._began = segments.HEADER_BYTES, self._clock.monotonic()
        self._names_changed = True
        return file

    def _write(self, file: int, data: bytes) -> None:
        try:
            write_all(file, data)
        except OSError:
            self._take_back(file)
            raise
        self._size += len(data)
        self._bytes += len(data)

    def _take_back(self, file: int) -> None:
        try:
            os.ftruncate(file, self._size)
        except OSError:
            self._retire(file)

    def _rotate_when_due(self) -> None:
        if self._file is None or self._size == segments.HEADER_BYTES:
            return
        aged = self._clock.monotonic() - self._began >= self._max_segment_age_s
        if aged or self._size >= self._max_segment_bytes:
            self._seal()

    def _seal(self) -> None:
        file = self._file
        if file is None:
            return
        try:
            write_all(file, segments.pack_seal(self._next))
        except OSError:
            # A segment without its seal is read like that of a writer that died: nothing is missing from it.
            with suppress(OSError):
                os.ftruncate(file, self._size)
        self._retire(file)

    def _retire(self, file: int) -> None:
        # Closed before it is durable, so that a released segment frees its space; `sync` opens it again.
        os.close(file)
        self._retired.append(self._segment)
        self._file = None

    def _flush_segment(self, number: int) -> None:
        try:
            file = os.open(segments.segment_file(self.folder, number), os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Taken in and released already.
            return
        try:
            flush_file(file)
        finally:
            os.close(file)

    def _distrust(self, pending: list[int], names: bool) -> None:
        # After a failed fsync the kernel may have dropped pages of this file: never append behind them.
        with self._lock:
            self._retired = [*pending, *self._retired]
            self._names_changed = self._names_changed or names
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _refuse(self, size: int) -> None:
        if self._guard is None:
            raise Unavailable(f"the spool {self.folder} was closed: open a new writer")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise Unavailable(failure)
        if self._bytes + size <= self._max_bytes:
            return
        now = self._clock.monotonic()
        if self._counted_at < 0 or now - self._counted_at >= _RECOUNT_S:
            self._counted_at, self._bytes = now, _bytes_in(self.folder)
        if self._bytes + size > self._max_bytes:
            raise OverLimit(
                f"the spool {self.folder} holds {self._bytes} of {self._max_bytes} bytes: "
                "start the control plane, which takes them in, or raise spool_max_bytes",
                bytes=self._bytes,
            )

    def _sync_often(self, interval_s: float) -> None:
        while not self._closing.wait(interval_s):
            try:
                self.sync()
            except Unavailable as error:
                self._failure = str(error)


def _lock_folder(folder: Path) -> int:
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(file)
                raise Conflict(f"another process writes to the spool {folder}: give each its own folder") from None
            # A reader that looks whether the writer is alive holds the lock for microseconds.
            time.sleep(0.01)


def is_abandoned(folder: Path) -> bool:
    """Tell whether no process has this folder open for writing."""
    try:
        file = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _bytes_in(folder: Path) -> int:
    total = 0
    for number in segments.list_segments(folder):
        # The reader may release it in between.
        with suppress(FileNotFoundError):
            total += segments.segment_file(folder, number).stat().st_size
    return total


def _unavailable(folder: Path, error: OSError) -> Unavailable:
    remedy = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "raise the quota or free some space",
        errno.EROFS: "the file system is read-only; move the home to one that can be written",
        errno.EACCES: "give this user the right to write",
    }.get(error.errno or 0, "check the disk")
    return Unavailable(f"the spool {folder} cannot be written: {error.strerror}: {remedy}", errno=error.errno)
