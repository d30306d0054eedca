import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.predictions.log import PredictionLog
from mainspring.predictions.model import PredictionBatch, encode_fact
from mainspring.runtime.spool import SpoolWriter
from mainspring.storage.sql.database import Database
from mainspring.storage.tables.store import open_tables
from tests.predictions.facts import AT_US, batch, failure, item, label

Write = Callable[..., None]


@pytest.fixture
def log(database: Database, tmp_path: Path, reached: Callable[[PredictionLog], PredictionLog]) -> PredictionLog:
    return reached(PredictionLog(open_tables(f"file://{tmp_path / 'tables'}"), database, tmp_path / "spool"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*records: bytes, worker: str = "w1") -> None:
        writer = SpoolWriter(tmp_path / "spool" / worker)
        writer.append_many(records)
        writer.close()

    return write


def test_every_row_of_every_request_is_logged_once(log: PredictionLog, write: Write):
    write(batch(item(), item(3)), batch(item(), endpoint="other"))
    write(batch(item(2)), worker="w2")
    first, second = log.ingest(), log.ingest()
    assert (first.predictions, first.endpoints) == (7, ["churn", "other"])
    assert second.predictions == 0
    logged = log.read("churn", columns={"x": "double", "plan": "string"})
    assert logged.rows.height == logged.features.height == 6
    assert logged.features.schema == {"x": pl.Float64, "plan": pl.String}
    assert logged.rows["score"].to_list() == [0.75] * 6


def test_a_failed_request_is_logged_with_its_reason_and_no_output(log: PredictionLog, write: Write):
    refused = failure()
    write(batch(refused))
    log.ingest()
    prediction = log.prediction("churn", refused.id)
    assert (prediction.status, prediction.output, prediction.error) == (422, None, "column 'x' is missing")


def test_the_rows_of_a_matrix_are_told_apart(log: PredictionLog, write: Write):
    matrix = item(2, values=[1.0, 2.0, 3.0, 4.0], outputs=[[[0.5], [0.6]]])
    write(encode_fact(PredictionBatch("m", "model:m@1", "release:m@1", "stable", ["a", "b"], ["variable"], [matrix])))
    log.ingest()
    logged = log.read("m")
    assert logged.features.to_dicts() == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
    assert logged.rows["score"].to_list() == [0.5, 0.6]
    assert log.prediction("m", f"{matrix.id}.1").features == {"a": 3.0, "b": 4.0}


def test_the_last_label_of_an_id_wins_and_the_others_are_counted(log: PredictionLog, write: Write):
    served = item()
    write(batch(served), label(served.id, "no"))
    log.ingest()
    write(label(served.id, "yes"))
    log.ingest()
    assert log.prediction("churn", served.id).label == "yes"
    counts = log.label_counts("churn")
    assert (counts.labels, counts.duplicates, counts.matched, counts.unmatched) == (2, 1, 1, 0)


def test_a_label_before_its_prediction_waits_for_it(log: PredictionLog, write: Write):
    late = item()
    write(label(late.id, "yes"), label("nobody", "no"))
    log.ingest()
    assert log.label_counts("churn").unmatched == 2
    seen = log.last_mark()
    write(batch(late))
    log.ingest()
    counts = log.label_counts("churn")
    assert (counts.matched, counts.unmatched) == (1, 1)
    # It met its prediction after the mark that a reader had seen, so the reader will not miss it.
    assert log.read("churn", met=(seen, log.last_mark())).rows["label"].to_list() == ['"yes"']


def test_labels_are_joined_to_single_rows(log: PredictionLog, write: Write):
    served = item(2)
    write(batch(served), label(f"{served.id}.1", 1))
    log.ingest()
    assert log.read("churn").rows["label"].to_list() == [None, "1"]
    assert log.read("churn", labelled=True).features["x"].to_list() == [1.0]
    assert log.counts("churn") == (2, 1)


def test_a_reader_that_keeps_the_mark_sees_each_row_once(log: PredictionLog, write: Write):
    seen, mark = [], 0
    for number in range(3):
        write(batch(item(id=f"{number:026d}")), worker=f"w{number}")
        log.ingest()
        now = log.last_mark()
        seen += log.read("churn", marks=(mark, now)).rows["prediction_id"].to_list()
        mark = now
    assert seen == [f"{number:026d}" for number in range(3)]


def test_a_time_range_takes_its_start_and_leaves_its_end(log: PredictionLog, write: Write):
    write(batch(*(item(at_us=AT_US + second * 1_000_000) for second in range(4))))
    log.ingest()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = log.read("churn", start + timedelta(seconds=1), start + timedelta(seconds=3)).rows
    assert rows["at"].dt.second().to_list() == [1, 2]
    assert len(log.list_predictions("churn", start=start + timedelta(seconds=3))) == 1


def test_dates_are_read_from_text_and_from_milliseconds(log: PredictionLog, write: Write):
    values = [[AT_US // 1000, -(2**63)], ["2026-01-01T01:00:00+01:00", "soon"]]
    write(batch(item(2, values=values)))
    log.ingest()
    features = log.read("churn", columns={"x": "datetime", "plan": "datetime"}).features
    assert features["x"].to_list() == [datetime(2026, 1, 1), None]
    assert features["plan"].to_list() == [datetime(2026, 1, 1), None]


def test_statistics_of_the_arms_count_requests_not_rows(log: PredictionLog, write: Write):
    served = item(4)
    write(
        batch(served, failure(422), failure(500)),
        batch(item(latency_us=50), arm="canary", release="release:churn@2"),
        label(f"{served.id}.2", "yes"),
    )
    log.ingest()
    stable, canary = log.arm_statistics("churn")
    assert (stable.requests, stable.rows, stable.refused, stable.errors, stable.labelled) == (3, 6, 1, 1, 1)
    assert (canary.arm, canary.requests, canary.latency_us_p50) == ("canary", 1, 50)


def test_what_cannot_be_decoded_is_kept_and_reported(log: PredictionLog, write: Write):
    write(batch(item()), b"\x01nonsense", batch(item()))
    ingested = log.ingest()
    assert (ingested.predictions, ingested.damages) == (2, 1)
    damage = log.damages()[0]
    assert (damage.kind, damage.records) == ("undecodable", 1)
    assert Path(damage.kept.partition(" (")[0]).read_bytes() == b"\x01nonsense"


def test_a_corrupt_segment_is_reported_and_what_follows_is_read(log: PredictionLog, write: Write, tmp_path: Path):
    write(batch(item()), batch(item()))
    segment = next((tmp_path / "spool" / "w1").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[60] ^= 0xFF
    segment.write_bytes(data)
    write(batch(item()))
    ingested = log.ingest()
    assert (ingested.predictions, ingested.damages) == (2, 1)
    assert log.damages()[0].records == 1


def test_nothing_is_lost_or_doubled_when_the_process_dies_before_the_position_is_committed(
    log: PredictionLog, write: Write, database_url: str, tmp_path: Path
):
    write(batch(item(), item(2)))
    dying = f"""
        import os, signal
        from mainspring.predictions.log import PredictionLog
        from mainspring.storage.sql.database import open_database
        from mainspring.storage.tables.drivers.delta import DeltaFolder

        class Dying(DeltaFolder):
            def append(self, *given, **named):
                super().append(*given, **named)
                os.kill(os.getpid(), signal.SIGKILL)

        database = open_database({database_url!r})
        PredictionLog(Dying.open("file://{tmp_path}/tables"), database, "{tmp_path}/spool").ingest()
    """
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(dying)], check=False)
    assert died.returncode == -9
    assert log.read("churn").rows.height == 3
    write(batch(item()))
    ingested = log.ingest()
    assert (ingested.skipped, ingested.predictions) == (1, 1)
    assert log.read("churn").rows.height == 4


def test_an_unknown_prediction_says_that_the_log_follows(log: PredictionLog):
    with pytest.raises(NotFound, match="follows the answers"):
        log.prediction("churn", "01J")


def test_a_list_without_bound_is_refused(log: PredictionLog):
    with pytest.raises(InvalidRequest, match="limit"):
        log.list_predictions("churn", limit=10**9)
