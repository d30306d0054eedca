"""What is appended is in the file at once, and durable when that is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mainspring.core.errors import Unavailable
from mainspring.runtime.spool import SpoolReader, SpoolWriter
from mainspring.serving.engine.log import PredictionLog


async def durable(log: PredictionLog) -> Unavailable | None:
    """Wait until the log says that everything is on disk."""
    told: asyncio.Future[Unavailable | None] = asyncio.get_running_loop().create_future()
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
