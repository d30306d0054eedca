"""One sync serves all who came before it began, and nobody who came later."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from mainspring.storage.sql.group_sync import GroupSync

WAIT_S = 20


class Disk:
    """A disk whose syncs end when they are let go; each may fail."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.failures: list[OSError | None] = []
        self.syncs = 0

    def sync(self) -> None:
        """Wait to be let go."""
        self.syncs += 1
        self.begun.release()
        assert self.go.acquire(timeout=WAIT_S)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


def come(pool: ThreadPoolExecutor, group: GroupSync, callers: int) -> list[Future[None]]:
    """Let some callers wait, and see that they do."""
    came = threading.Barrier(callers + 1)

    def call() -> None:
        came.wait(WAIT_S)
        group.wait()

    futures = [pool.submit(call) for _ in range(callers)]
    came.wait(WAIT_S)
    return futures


def test_who_comes_during_a_sync_is_served_by_the_next_one() -> None:
    disk = Disk()
    group = GroupSync(disk.sync)
    with ThreadPoolExecutor(8) as pool:
        first = come(pool, group, 1)
        assert disk.begun.acquire(timeout=WAIT_S)
        later = come(pool, group, 5)
        disk.go.release()
        first[0].result(WAIT_S)
        assert disk.begun.acquire(timeout=WAIT_S)
        assert not any(one.done() for one in later)
        for _ in range(5):
            disk.go.release()
        for one in later:
            one.result(WAIT_S)
    # Those of the five that were slow to come may have needed one more.
    assert 2 <= disk.syncs <= 6


def test_a_sync_that_fails_is_told_to_those_it_was_for_and_the_next_one_is_tried() -> None:
    disk = Disk()
    disk.failures = [OSError(errno.EIO, "broken"), None]
    group = GroupSync(disk.sync)
    disk.go.release()
    with pytest.raises(OSError, match="broken"):
        group.wait()
    disk.go.release()
    group.wait()
    assert disk.syncs == 2


def test_a_sync_that_is_broken_off_leaves_nobody_waiting() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    group = GroupSync(interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            group.wait()
