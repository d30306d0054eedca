"""Datasets: versions, checks, time travel and lineage."""

from __future__ import annotations

import io
import threading
from datetime import timedelta

import polars as pl
import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import Conflict, InvalidData, InvalidRequest, MainspringError, NotFound, QualityFailed
from mainspring.core.operations import operations
from mainspring.datasets.expectations import Between, NotNull, OneOf, RowCount, UniqueKey
from mainspring.datasets.importing import ROW
from mainspring.datasets.service import Datasets
from mainspring.storage.sql.journal import edges_up, read_events


def trips(first: int = 0, count: int = 100, fare: float = 10.0) -> pl.DataFrame:
    ids = range(first, first + count)
    return pl.DataFrame(
        {
            "id": list(ids),
            "fare": [fare + i % 7 for i in ids],
            "kind": ["taxi" if i % 3 else "bus" for i in ids],
        }
    )


def test_an_uploaded_file_becomes_a_version_that_leads_back_to_it(datasets: Datasets) -> None:
    digest = datasets.objects.put_bytes(trips().write_csv().encode())
    version = datasets.create_version("trips", digest, key=["id"])
    assert (version.ref, version.rows, version.status, version.imported.format) == (
        "dataset:trips@1",
        100,
        "accepted",
        "csv",
    )
    assert datasets.read("trips").equals(trips())
    with datasets.database.read() as connection:
        edges = edges_up(connection, ["dataset:trips@1"])
    assert [(edge.source, edge.kind) for edge in edges] == [
        (f"object:{digest.removeprefix('sha256:')}", "DatasetVersionCreated")
    ]


def test_the_same_content_is_the_same_version_whatever_the_file(datasets: Datasets) -> None:
    frame = trips()
    first = datasets.import_frame("trips", frame)
    parquet = io.BytesIO()
    frame.write_parquet(parquet, row_group_size=7)
    csv = datasets.objects.put_bytes(frame.write_csv().encode())
    assert datasets.create_version("trips", datasets.objects.put_bytes(parquet.getvalue())) == first
    assert datasets.create_version("trips", csv) == first
    assert len(datasets.versions("trips")) == 1


def test_a_token_gives_the_first_result_again_and_writes_nothing(datasets: Datasets) -> None:
    first = datasets.import_frame("trips", trips(), token="a")
    datasets.import_frame("trips", trips(count=50), check=False)
    assert datasets.import_frame("trips", trips(count=70), token="a") == first
    assert datasets.get("trips").versions == 2
    with pytest.raises(Conflict, match="token"):
        datasets.import_frame("others", trips(), token="a")


def test_a_token_of_a_refused_import_refuses_again(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(), key="id")
    for _ in range(2):
        with pytest.raises(QualityFailed, match="dataset:trips@2"):
            datasets.import_frame("trips", pl.concat([trips(), trips()]), token="b")
    assert datasets.get("trips").versions == 2


def test_appended_rows_follow_the_others_in_order(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(), key="id")
    for number in range(1, 5):
        version = datasets.import_frame("trips", trips(100 * number), mode="append")
    assert (version.version, version.parent, version.rows) == (5, 4, 500)
    assert datasets.read("trips").equals(trips(count=500))
    assert datasets.read("trips", 3, columns=["id"])["id"].to_list() == list(range(300))
    assert datasets.preview("trips", 5, offset=198, limit=3).rows[0][0] == 198
    assert datasets.scan("trips", 5).select(pl.col("id").sum()).collect().item() == sum(range(500))


def test_a_table_write_without_a_record_is_never_seen(datasets: Datasets) -> None:
    # What a crash between the table's commit and the record's leaves behind.
    first = datasets.import_frame("trips", trips(), key="id")
    orphan = trips(900).with_columns(pl.lit(0, pl.Int64).alias(ROW))
    datasets.importer.tables.append(first.table, orphan)
    assert datasets.read("trips").equals(trips())
    datasets.import_frame("trips", trips(100), mode="append")
    assert datasets.read("trips").equals(trips(count=200))


def test_importers_at_the_same_time_lose_nothing(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(count=10), key="id", expectations=[])
    other = Datasets(datasets.database, datasets.importer.tables, datasets.objects)
    errors: list[MainspringError] = []

    def add(service: Datasets, start: int) -> None:
        try:
            for first in range(start, start + 300, 100):
                service.import_frame("trips", trips(first, 10), mode="append")
        except MainspringError as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(datasets, 1000)), threading.Thread(target=add, args=(other, 2000))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = len(errors)
    assert all(isinstance(error, Conflict) for error in errors)
    latest = datasets.latest("trips")
    assert latest.version >= 3 and (refused or latest.version == 7)
    read = datasets.read("trips")
    assert read.height == 10 * latest.version and read["id"].n_unique() == read.height


def test_other_columns_are_refused_by_name_unless_the_schema_may_evolve(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(), expectations=[])
    other = trips(100).drop("kind").with_columns(pl.lit("x").alias("fare"), pl.lit(1, pl.Int64).alias("tip"))
    for mode in ("replace", "append"):
        said = "new columns tip; missing columns kind; fare is string instead of float64"
        with pytest.raises(InvalidData, match=said):
            datasets.import_frame("trips", other, mode=mode)
    version = datasets.import_frame(
        "trips", trips(100).with_columns(pl.lit(1, pl.Int64).alias("tip")), mode="append", evolve=True
    )
    assert version.types["tip"] == "int64"
    assert datasets.read("trips")["tip"].null_count() == 100
    assert "tip" not in datasets.read("trips", 1).columns


def test_values_that_fit_the_schema_without_loss_are_taken(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips())
    narrow = trips(100).with_columns(pl.col("id").cast(pl.Int16), pl.col("fare").cast(pl.Int32))
    version = datasets.import_frame("trips", narrow.select("kind", "fare", "id"), mode="append")
    assert version.types == {"id": "int64", "fare": "float64", "kind": "string"}


def test_the_first_version_brings_suggested_expectations(datasets: Datasets) -> None:
    version = datasets.import_frame("trips", trips(), key="id")
    assert version.expectations == datasets.expectations("trips") == datasets.suggest("trips", 1)
    assert UniqueKey(columns=["id"]) in version.expectations
    datasets.import_frame("trips", trips(100, 120, fare=12.0))


def test_a_failed_check_keeps_the_version_out_and_names_the_rows(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(), key="id")
    bad = trips(100).with_columns(pl.when(pl.col("id") == 142).then(-500.0).otherwise("fare").alias("fare"))
    with pytest.raises(QualityFailed) as refused:
        datasets.import_frame("trips", bad, mode="append")
    (failed,) = refused.value.facts["failed"]  # type: ignore[misc]
    assert failed["check"]["column"] == "fare" and failed["count"] == 1
    assert failed["rows"] == [{"row": 143, "key": [142], "values": [-500.0]}]
    kept = datasets.version("trips", 2)
    assert (kept.status, kept.report) == ("quarantined", refused.value.facts["report"])
    assert datasets.latest("trips").version == 1
    assert datasets.read("trips").equals(trips())
    assert datasets.read("trips", 2)["fare"].min() == -500.0
    assert datasets.report(kept.report or "").passed is False
    assert (datasets.get("trips").latest, datasets.get("trips").quarantined) == (1, 1)
    with datasets.database.read() as connection:
        kinds = [event.kind for event in read_events(connection)]
    assert kinds[-2:] == ["DatasetVersionQuarantined", "QualityChecked"]


def test_the_same_bad_rows_are_quarantined_once_and_can_be_let_in(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(), key="id")
    bad = pl.concat([trips(100), trips(100)])
    for _ in range(3):
        with pytest.raises(QualityFailed, match="trips@2"):
            datasets.import_frame("trips", bad)
    assert datasets.import_frame("trips", bad, check=False).version == 3
    assert datasets.import_frame("trips", trips(5)).version == 4


def test_an_expectation_that_does_not_block_is_reported_only(datasets: Datasets) -> None:
    wanted = [Between(column="fare", high=11, blocks=False), NotNull(column="kind")]
    version = datasets.import_frame("trips", trips(), expectations=wanted)
    report = datasets.report(version.report or "")
    assert report.passed and [check.passed for check in report.checks] == [False, True]


def test_expectations_can_be_set_before_the_first_version(datasets: Datasets) -> None:
    datasets.set_expectations("trips", [RowCount(low=1000)])
    with pytest.raises(QualityFailed, match="100 rows, expected at least 1000 rows"):
        datasets.import_frame("trips", trips())
    assert datasets.get("trips").latest is None
    with pytest.raises(NotFound):
        datasets.latest("trips")


def test_a_version_can_be_checked_at_any_time(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(), key="id")
    assert datasets.check("trips", 1).passed
    report = datasets.check("trips", 1, [OneOf(column="kind", levels=["taxi"])])
    assert not report.passed and report.checks[0].count == 34
    assert [offender.row for offender in report.checks[0].rows][:3] == [1, 4, 7]
    assert datasets.report(report.id) == report
    with datasets.database.read() as connection:
        assert [edge.source for edge in edges_up(connection, [report.id])] == ["dataset:trips@1"]


def test_time_travel_gives_what_was_the_latest_then(datasets: Datasets, clock: ManualClock) -> None:
    start = clock.now()
    for count in (100, 110, 120):
        datasets.import_frame("trips", trips(count=count))
        clock.advance(60)
    assert datasets.read("trips", at=start + timedelta(seconds=70)).height == 110
    assert datasets.latest("trips", start).version == 1
    with pytest.raises(NotFound):
        datasets.latest("trips", start - timedelta(seconds=1))
    with pytest.raises(InvalidRequest, match="time zone"):
        datasets.latest("trips", start.replace(tzinfo=None))


def test_refs_stand_for_versions(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips())
    datasets.import_frame("trips", trips(count=110))
    refs = ("dataset:trips@1", "dataset:trips", "trips", "trips@latest")
    assert [datasets.resolve(ref).version for ref in refs] == [1, 2, 2, 2]
    with pytest.raises(InvalidRequest):
        datasets.resolve("model:trips@1")
    with pytest.raises(NotFound):
        datasets.resolve("dataset:trips@9")


def test_a_difference_counts_rows_by_key_and_names_what_changed(datasets: Datasets) -> None:
    datasets.import_frame("trips", trips(), key="id", expectations=[])
    after = trips(10).with_columns(pl.when(pl.col("id") == 50).then(0.0).otherwise("fare").alias("fare"))
    datasets.import_frame("trips", after.with_columns(pl.lit(True).alias("new")), evolve=True)
    found = datasets.diff("trips", 1, 2)
    assert (found.added, found.removed, found.changed) == (10, 10, 1)
    assert found.first_changed == [[50]] and found.first_added[0] == [100]
    assert found.schema.added == ["new"]
    assert {column.name: column.changed for column in found.columns} == {"id": 0, "fare": 1, "kind": 0}
    whole = datasets.diff("trips", 1, 2, key=[])
    assert (whole.added, whole.removed, whole.changed) == (11, 11, 0)


def test_a_key_that_repeats_is_warned_of_and_not_expected_to_be_unique(datasets: Datasets) -> None:
    version = datasets.import_frame("trips", pl.concat([trips(), trips(count=5)]), key="id")
    assert version.imported.warnings == ["the key id is not unique: 5 of 105 rows repeat one"]
    assert not [e for e in version.expectations if isinstance(e, UniqueKey)]


def test_columns_may_have_any_name(datasets: Datasets) -> None:
    names = ["a b", "x,y;{}()=", "d.o.t", "naïve 東京", "q\"uo'te`", "sl/ash", "tab\tnew", "%41", "__index__"]
    frame = pl.DataFrame({name: [1, 2, None] for name in names})
    datasets.import_frame("names", frame, key=names[:2])
    assert datasets.read("names").equals(frame)
    datasets.import_frame("names", frame + 5, mode="append")
    assert datasets.read("names").equals(pl.concat([frame, frame + 5]))
    assert datasets.diff("names", 1, 2, key=[]).added == 3


def test_thousands_of_columns_become_a_version(datasets: Datasets) -> None:
    frame = pl.DataFrame({f"c{i}": [i, i + 1] for i in range(2000)})
    assert len(datasets.import_frame("wide", frame).columns) == 2000
    assert datasets.read("wide").equals(frame)


def test_a_table_without_rows_keeps_its_types(datasets: Datasets) -> None:
    assert datasets.import_frame("trips", trips().clear(), key="id").types["fare"] == "float64"
    assert datasets.read("trips").equals(trips().clear())
    assert datasets.import_frame("trips", trips(), mode="append").rows == 100


def test_a_key_or_time_column_that_is_not_there_is_refused(datasets: Datasets) -> None:
    with pytest.raises(InvalidData, match="nobody"):
        datasets.import_frame("trips", trips(), key="nobody")
    with pytest.raises(NotFound):
        datasets.get("trips")
    with pytest.raises(InvalidRequest, match="name of a dataset"):
        datasets.import_frame("../trips", trips())


def test_a_broken_file_leaves_nothing_behind(datasets: Datasets) -> None:
    digest = datasets.objects.put_bytes(b"a,b\n1,2\n3\n")
    with pytest.raises(InvalidData, match="line 3"):
        datasets.create_version("trips", digest)
    assert datasets.list() == []


def test_a_preview_is_plain_and_bounded(datasets: Datasets) -> None:
    datasets.import_frame("odd", pl.DataFrame({"f": [float("inf"), None], "b": [b"xx", None], "l": [[1, None], None]}))
    assert datasets.preview("odd", 1).rows == [["inf", "2 bytes", [1, None]], [None, None, None]]
    with pytest.raises(InvalidRequest):
        datasets.preview("odd", 1, limit=10_000)


def test_every_verb_is_an_operation_of_its_own(datasets: Datasets) -> None:
    routes = [(op.method, op.path) for op in operations(Datasets)]
    assert len(set(routes)) == len(routes) == 14


def test_a_dataset_that_does_not_exist_is_not_said_to_lack_a_version(datasets: Datasets) -> None:
    for ask in (datasets.get, datasets.latest, datasets.resolve):
        with pytest.raises(NotFound, match="there is no dataset 'nowhere'; `mainspring dataset list`"):
            ask("nowhere")
