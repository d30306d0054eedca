"""What only Delta Lake can get wrong: killed writers, damage, and what reading must not need."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from mainspring.core.errors import Corrupt
from mainspring.storage.tables.drivers.delta import DeltaFolder

APPEND_UNTIL_KILLED = """
import sys
import polars as pl
from mainspring.storage.tables.drivers.delta import DeltaFolder
store = DeltaFolder.open(sys.argv[1])
for number in range(100_000):
    store.append("log", pl.DataFrame({"id": [number] * 10}), transaction=("writer", number))
    print(number, flush=True)
"""

WITHOUT_PYARROW = """
import sys
for name in ("pyarrow", "pandas", "boto3"):
    sys.modules[name] = None
import polars as pl
from mainspring.storage.tables.drivers.delta import DeltaFolder
store = DeltaFolder.open(sys.argv[1])
store.append("t", pl.DataFrame({"a": [1, 2], "b": ["x", None]}), transaction=("w", 1))
store.overwrite("t", pl.DataFrame({"a": [1, 2], "b": ["x", None]}))
print(store.read("t", columns=["a"]).rows(), store.schema("t"), len(store.history("t")))
"""


def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    command = [sys.executable, "-c", APPEND_UNTIL_KILLED, tmp_path.as_uri()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(15)]
        writer.send_signal(signal.SIGKILL)
        last = int(([*acknowledged, *writer.stdout.readlines()])[-1])
    store = DeltaFolder.open(tmp_path.as_uri())
    committed = store.committed("log", "writer")
    assert committed is not None
    assert committed >= last
    for number in range(committed + 2):  # What a writer does that starts again: it writes everything once more.
        store.append("log", pl.DataFrame({"id": [number] * 10}), transaction=("writer", number))
    counts = store.read("log").group_by("id").len().sort("id")
    assert counts.rows() == [(number, 10) for number in range(committed + 2)]


def test_tables_need_neither_pyarrow_nor_pandas(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_PYARROW, tmp_path.as_uri()]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    assert ran.stdout.decode().startswith("[(1,), (2,)]")


@pytest.mark.parametrize("damaged", ["_delta_log/*.json", "*.parquet"])
def test_a_damaged_file_is_corrupt_and_the_table_is_named(tmp_path: Path, damaged: str) -> None:
    store = DeltaFolder.open(tmp_path.as_uri())
    store.append("some/trips", pl.DataFrame({"id": [1]}))
    [path] = (tmp_path / "some" / "trips").glob(damaged)
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(Corrupt, match="some/trips"):
        store.read("some/trips")


def test_a_large_append_keeps_the_order_of_its_rows(tmp_path: Path) -> None:
    store = DeltaFolder.open(tmp_path.as_uri())
    store.append("large", pl.DataFrame({"id": range(1_000_000)}))
    assert store.read("large")["id"].is_sorted()
