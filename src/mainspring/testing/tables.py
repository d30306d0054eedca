"""The suite that every table store passes.

Use it in a test module of your own: subclass `TableStoreSuite` and give it a fixture ``store`` that opens an empty
store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mainspring.core.errors import InvalidData, InvalidRequest, MainspringError, NotFound
from mainspring.storage.tables.store import TableStore
from mainspring.testing.capabilities import expect_what_is_lacking

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRIPS = pl.DataFrame({"id": [1, 2, 3], "city": ["Oslo", None, "Rome"], "at": [NOON, NOON, None]})


class TableStoreSuite:
    """The rules of `TableStore`, one test each."""

    @pytest.fixture(autouse=True)
    def _lacking(self, request: pytest.FixtureRequest, store: TableStore) -> None:
        expect_what_is_lacking(request, store.lacks)

    def test_rows_come_back_as_they_were_appended(self, store: TableStore) -> None:
        assert store.append("datasets/trips", TRIPS) == 0
        assert_frame_equal(store.read("datasets/trips"), TRIPS)
        assert store.append("datasets/trips", TRIPS) == 1
        assert store.read("datasets/trips").height == 6

    def test_every_type_that_a_table_holds_comes_back(self, store: TableStore) -> None:
        frame = pl.DataFrame(
            {
                "bool": [True, None],
                "i8": pl.Series([1, None], dtype=pl.Int8),
                "i16": pl.Series([1, None], dtype=pl.Int16),
                "i32": pl.Series([1, None], dtype=pl.Int32),
                "f32": pl.Series([1.5, None], dtype=pl.Float32),
                "f64": [float("nan"), float("inf")],
                "bytes": [b"\0\xff", None],
                "text": ["", "\N{SNOWMAN}"],
                "date": [date(1969, 12, 31), None],
                "naive": [datetime(2026, 3, 1), None],
                "utc": [NOON, None],
                "decimal": pl.Series([Decimal("1.25"), None], dtype=pl.Decimal(10, 2)),
                "list": [[1, None], []],
                "struct": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}],
            }
        )
        store.append("types", frame)
        assert_frame_equal(store.read("types"), frame)

    def test_a_type_that_a_table_does_not_have_becomes_one_that_holds_every_value(self, store: TableStore) -> None:
        frame = pl.DataFrame(
            {
                "category": pl.Series(["a", "b"], dtype=pl.Categorical),
                "u8": pl.Series([0, 255], dtype=pl.UInt8),
                "u32": pl.Series([0, 2**32 - 1], dtype=pl.UInt32),
                "ms": pl.Series([NOON, NOON]).dt.cast_time_unit("ms").dt.convert_time_zone("Europe/Oslo"),
                "nothing": [None, None],
                "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.UInt16, 2)),
            }
        )
        store.append("types", frame)
        read = store.read("types")
        assert read.rows() == [("a", 0, 0, NOON, None, [1, 2]), ("b", 255, 2**32 - 1, NOON, None, [3, 4])]
        assert read.schema["nothing"] == pl.String

    @pytest.mark.parametrize(
        "values", [pl.Series([timedelta(seconds=1)]), pl.Series([2**63], dtype=pl.UInt64)], ids=["duration", "uint64"]
    )
    def test_a_value_that_no_type_holds_is_refused(self, store: TableStore, values: pl.Series) -> None:
        with pytest.raises(InvalidData):
            store.append("types", pl.DataFrame({"value": values}))
        assert not store.exists("types")

    def test_an_older_version_stays_as_it_was(self, store: TableStore) -> None:
        store.append("trips", TRIPS.head(1))
        store.append("trips", TRIPS.tail(2))
        store.overwrite("trips", pl.DataFrame({"other": [9.5]}))
        assert [store.read("trips", version).height for version in (0, 1, 2)] == [1, 3, 1]
        assert store.version("trips") == 2
        assert store.schema("trips", 0) == TRIPS.schema
        assert store.schema("trips") == {"other": pl.Float64}

    def test_only_the_columns_asked_for_are_read(self, store: TableStore) -> None:
        store.append("trips", TRIPS)
        assert store.read("trips", columns=["city", "id"]).columns == ["city", "id"]
        with pytest.raises(InvalidRequest, match="no column nowhere"):
            store.read("trips", columns=["id", "nowhere"])

    def test_a_scan_filters_a_fixed_version(self, store: TableStore) -> None:
        store.append("trips", TRIPS)
        scan = store.scan("trips").filter(pl.col("id") > 1).select("city")
        store.append("trips", TRIPS)
        assert scan.collect()["city"].to_list() == [None, "Rome"]

    @pytest.mark.parametrize(
        ("frame", "named"),
        [
            (TRIPS.drop("city"), "missing: city"),
            (TRIPS.with_columns(extra=1), "not in the table: extra"),
            (TRIPS.with_columns(id=pl.col("id") + 0.5), "id is Float64 where the table has Int64"),
            (TRIPS.with_columns(id=pl.lit("x")), "id is String where the table has Int64"),
        ],
        ids=["missing", "unknown", "a fraction for an integer", "text for an integer"],
    )
    def test_a_frame_with_other_columns_is_refused_by_name(
        self, store: TableStore, frame: pl.DataFrame, named: str
    ) -> None:
        store.append("trips", TRIPS)
        with pytest.raises(InvalidData, match=named):
            store.append("trips", frame)
        assert store.version("trips") == 0

    def test_columns_fit_in_any_order_and_a_column_of_nulls_fits_any_type(self, store: TableStore) -> None:
        store.append("trips", TRIPS)
        store.append("trips", pl.DataFrame({"at": [None], "city": ["Bonn"], "id": [4]}))
        assert store.read("trips").filter(city="Bonn").rows() == [(4, "Bonn", None)]

    def test_a_transaction_that_is_replayed_writes_nothing(self, store: TableStore) -> None:
        assert store.committed("log", "ingest") is None
        store.append("log", TRIPS, transaction=("ingest", 0))
        assert store.append("log", TRIPS, transaction=("ingest", 0)) == 0
        assert store.append("log", TRIPS, transaction=("ingest", 7)) == 1
        assert store.append("log", TRIPS, transaction=("ingest", 6)) == 1
        assert store.overwrite("log", TRIPS.head(1), transaction=("ingest", 7)) == 1
        assert store.append("log", TRIPS, transaction=("another", 1)) == 2
        assert store.read("log").height == 9
        assert (store.committed("log", "ingest"), store.committed("log", "another")) == (7, 1)

    def test_of_many_who_race_with_one_transaction_one_writes(self, store: TableStore) -> None:
        _race([lambda: store.append("log", TRIPS, transaction=("ingest", 1))] * 6)
        assert store.read("log").height == 3
        _race([lambda: store.append("log", TRIPS, transaction=("ingest", 2))] * 6)
        assert store.read("log").height == 6

    def test_every_one_of_many_appends_at_once_survives_also_the_first(self, store: TableStore) -> None:
        frames = [pl.DataFrame({"id": [number]}) for number in range(10)]
        versions = _race([lambda frame=frame: store.append("log", frame) for frame in frames])  # type: ignore[misc]
        assert sorted(versions) == list(range(10))
        assert sorted(store.read("log")["id"].to_list()) == list(range(10))

    def test_of_overwrites_at_once_one_is_left_whole(self, store: TableStore) -> None:
        frames = [pl.DataFrame({f"column_{number}": [number] * 5}) for number in range(4)]
        _race([lambda frame=frame: store.overwrite("log", frame) for frame in frames])  # type: ignore[misc]
        left = store.read("log")
        assert any(left.equals(frame) for frame in frames)
        assert store.version("log") == 3

    def test_history_tells_what_happened_the_newest_first(self, store: TableStore) -> None:
        before = datetime.now(UTC) - timedelta(seconds=2)
        store.append("trips", TRIPS)
        store.overwrite("trips", TRIPS.head(1))
        history = store.history("trips")
        assert [(commit.version, commit.rows) for commit in history] == [(1, 1), (0, 3)]
        assert before < history[1].at <= history[0].at <= datetime.now(UTC) + timedelta(seconds=2)

    def test_compacting_and_vacuuming_keep_the_rows_and_the_versions_asked_for(self, store: TableStore) -> None:
        for number in range(6):
            store.append("log", pl.DataFrame({"id": [number]}))
        version = store.compact("log")
        assert version == 6
        assert store.compact("log") == version
        assert store.vacuum("log", older_than=timedelta(0), keep=[2]) > 0
        assert sorted(store.read("log")["id"].to_list()) == list(range(6))
        assert sorted(store.read("log", 2)["id"].to_list()) == [0, 1, 2]
        with pytest.raises(NotFound, match="vacuum"):
            store.read("log", 4)

    def test_a_deleted_table_is_gone_and_its_name_is_free(self, store: TableStore) -> None:
        store.append("trips", TRIPS)
        store.append("trips2", TRIPS)
        store.delete("trips")
        store.delete("trips")
        assert not store.exists("trips")
        assert store.exists("trips2")
        assert store.append("trips", pl.DataFrame({"other": [1]})) == 0

    def test_a_table_or_version_that_is_not_there_is_not_found(self, store: TableStore) -> None:
        for ask in (store.read, store.scan, store.version, store.schema, store.history, store.compact):
            with pytest.raises(NotFound, match="no table nowhere"):
                ask("nowhere")
        store.append("trips", TRIPS)
        for version in (-1, 1):
            with pytest.raises(NotFound, match=f"no version {version}"):
                store.read("trips", version)

    @pytest.mark.parametrize("name", ["", "/etc", "a/../../b", "a//b", ".", "a b", "a/", "_delta_log"])
    def test_a_name_that_is_no_plain_path_is_refused(self, store: TableStore, name: str) -> None:
        for call in (store.read, store.delete, store.exists):
            with pytest.raises(InvalidRequest, match="not a table's name"):
                call(name)
        with pytest.raises(InvalidRequest, match="not a table's name"):
            store.append(name, TRIPS)

    def test_a_frame_without_columns_is_no_table(self, store: TableStore) -> None:
        with pytest.raises(InvalidData, match="at least one column"):
            store.append("empty", pl.DataFrame())

    def test_a_frame_without_rows_makes_the_table(self, store: TableStore) -> None:
        store.append("trips", TRIPS.clear())
        assert store.read("trips").schema == TRIPS.schema


def _race(calls: list[Callable[[], int]]) -> list[int]:
    """Make all calls at once, each in a thread, and give what they returned."""
    found: list[int] = []
    failed: list[MainspringError] = []

    def run(call: Callable[[], int]) -> None:
        try:
            found.append(call())
        except MainspringError as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    return found
