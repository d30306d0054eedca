"""What is appended is in the file at once, and durable when that is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mainspring.core.errors import MainspringError, TooLarge, Unavailable
from mainspring.runtime.spool import SpoolReader, SpoolWriter
from mainspring.serving.engine.log import PredictionLog


async def durable(log: PredictionLog) -> MainspringError | None:
    """Wait until the log says that everything is on disk."""
    told: asyncio.Future[MainspringError | None] = asyncio.get_running_loop().create_future()
    log.when_durable(told.set_result)
    return await asyncio.wait_for(told, 10)


def records(root: Path) -> list[bytes]:
    """Everything in a spool."""
    return [record for batch in SpoolReader(root).batches() for record in batch.records]


def test_facts_are_in_the_spool_when_append_returns(tmp_path: Path) -> None:
    async def main() -> None:
        spool = SpoolWriter(tmp_path / "w")
        log = PredictionLog(spool, asyncio.get_running_loop(), interval_s=60)
        log.append([b"one", b"two"])
        assert records(tmp_path) == [b"one", b"two"]
        assert await durable(log) is None
        assert spool.synced == spool.last
        log.close()
        spool.close()

    asyncio.run(main())


def test_the_interval_bounds_what_a_power_cut_can_take(tmp_path: Path) -> None:
    async def main() -> None:
        spool = SpoolWriter(tmp_path / "w")
        log = PredictionLog(spool, asyncio.get_running_loop(), interval_s=0.01)
        log.append([b"one"])
        deadline = asyncio.get_running_loop().time() + 10
        while spool.synced < spool.last:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.005)
        log.close()
        spool.close()

    asyncio.run(main())


def test_a_full_spool_is_a_refusal_not_a_loss(tmp_path: Path) -> None:
    async def main() -> None:
        spool = SpoolWriter(tmp_path / "w", max_bytes=200)
        log = PredictionLog(spool, asyncio.get_running_loop())
        with pytest.raises(Unavailable, match="nothing is answered unlogged"):
            for _ in range(10):
                log.append([bytes(100)])
        log.close()
        spool.close()

    asyncio.run(main())


class FailingDisk:
    """A spool whose disk does not take what it is told to keep."""

    def append_many(self, records: list[bytes]) -> None:
        """Take everything."""

    def sync(self) -> None:
        """Fail."""
        raise Unavailable("the disk fails")


def test_those_who_wait_hear_that_the_disk_failed() -> None:
    async def main() -> None:
        log = PredictionLog(FailingDisk(), asyncio.get_running_loop(), interval_s=60)
        log.append([b"one"])
        failed = await durable(log)
        assert failed is not None and "send it again" in str(failed)
        log.close()

    asyncio.run(main())


class Writes:
    """A spool that keeps each append, and takes no more than 10 bytes in one."""

    def __init__(self) -> None:
        self.appends: list[list[bytes]] = []

    def append_many(self, records: list[bytes]) -> None:
        """Keep one append."""
        if sum(map(len, records)) > 10:
            raise TooLarge("more than 10 bytes")
        self.appends.append(records)

    def sync(self) -> None:
        """Do nothing."""


async def staged(spool: Writes, *facts: bytes) -> list[MainspringError | None]:
    """Append facts in one turn of the loop; gives what each was told."""
    log = PredictionLog(spool, asyncio.get_running_loop(), interval_s=60)
    told: list[MainspringError | None] = []
    for fact in facts:
        log.append_soon(fact, told.append)
    assert spool.appends == []
    await asyncio.sleep(0)
    log.close()
    return told


def test_the_facts_of_one_turn_are_one_write_in_their_order() -> None:
    spool = Writes()
    assert asyncio.run(staged(spool, b"one", b"two")) == [None, None]
    assert spool.appends == [[b"one", b"two"]]


def test_a_fact_that_is_too_large_is_not_in_the_way_of_the_others() -> None:
    spool = Writes()
    first, second, third = asyncio.run(staged(spool, b"one", bytes(11), b"three"))
    assert (first, third) == (None, None)
    assert isinstance(second, TooLarge)
    assert spool.appends == [[b"one"], [b"three"]]
