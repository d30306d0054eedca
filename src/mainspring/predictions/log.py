"""The prediction log: what was predicted, by which release, and what turned out to be true."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.operations import operation
from mainspring.core.refs import check_name
from mainspring.predictions import store
from mainspring.predictions.ingest import Ingest
from mainspring.predictions.records import ArmStatistics, Ingested, LabelCounts, LogCounts, Prediction, SpoolDamage
from mainspring.predictions.rows import LABEL_SCHEMA, LOG_SCHEMA, feature_columns
from mainspring.storage.sql.database import Database
from mainspring.storage.tables.store import TableStore

_MOST_LISTED = 1000
_decode = msgspec.json.Decoder().decode


class Logged(msgspec.Struct, frozen=True):
    """Rows of the log and, in the same order, their features in typed columns.

    ``rows`` has the columns of the log less ``features``, and ``label`` (JSON text or null), ``label_at``, ``met``: the
    mark at which both the prediction and its first label were there (null without a label). ``mark`` counts the passes
    of the ingestion: a reader that keeps the highest one it has seen misses nothing.
    """

    rows: pl.DataFrame
    features: pl.DataFrame


class PredictionLog:
    """Takes the spool into tables, and reads predictions joined with their labels.

    Of several labels for one id the last received counts. A label may come before its prediction: it waits.
    """

    def __init__(self, tables: TableStore, database: Database, spool: Path | str) -> None:
        self._tables, self._database = tables, database
        self._ingest = Ingest(tables, database, spool)

    def ingest(self) -> Ingested:
        """Take in what the data plane wrote since the last call, exactly once whatever is killed in between."""
        return self._ingest.run()

    def read(
        self,
        endpoint: str,
        start: datetime | None = None,
        end: datetime | None = None,
        columns: Mapping[str, str] | None = None,
        *,
        release: str | None = None,
        marks: tuple[int, int] | None = None,
        met: tuple[int, int] | None = None,
        events: tuple[datetime, datetime] | None = None,
        answered: bool = False,
        labelled: bool = False,
        with_labels: bool = True,
    ) -> Logged:
        """Give the predictions with start <= at < end, in the order of arrival, features decoded as *columns* says.

        *marks* keeps rows whose mark is greater than the first and at most the second, *met* the same for labels that
        met their prediction (these come in that order). *events* bounds the event time, or the arrival where there is
        none; *answered* leaves out failed requests, *labelled* rows without a label. Without
        *with_labels* nothing is joined, and the columns of the label are not there.
        """
        frame = self._joined(endpoint) if with_labels else self._log(endpoint)
        for column, bounds in (("mark", marks), ("met", met)):
            if bounds is not None:
                frame = frame.filter(pl.col(column) > bounds[0], pl.col(column) <= bounds[1])
        if start is not None:
            frame = frame.filter(pl.col("at") >= start)
        if end is not None:
            frame = frame.filter(pl.col("at") < end)
        if events is not None:
            moment = pl.coalesce("event_time", "at")
            frame = frame.filter(moment >= events[0], moment < events[1])
        if release is not None:
            frame = frame.filter(pl.col("release") == release)
        if answered:
            frame = frame.filter(pl.col("status") < 400)
        if labelled:
            frame = frame.filter(pl.col("label").is_not_null())
        frame = frame.sort("mark" if met is None else "met", "at", "prediction_id")
        if columns is not None and not columns:
            # The features are most of the log: who wants none of them does not read them.
            return Logged(frame.drop("features").collect(), pl.DataFrame())
        rows = frame.collect()
        return Logged(rows.drop("features"), feature_columns(rows["features"].to_list(), columns))

    def last_mark(self) -> int:
        """Give the highest mark up to which every row can be read; later rows have greater ones. 0 at the beginning."""
        with self._database.read() as connection:
            return store.marks_taken(connection)

    def counts(self, endpoint: str, after: int = 0) -> tuple[int, int]:
        """Give how many predictions were answered after a mark, and how many got their first label after it."""
        frame = self._joined(endpoint).filter(pl.col("status") < 400)
        answered, met = (
            frame.select((pl.col("mark") > after).sum(), (pl.col("met") > after).sum().alias("met")).collect().row(0)
        )
        return int(answered or 0), int(met or 0)

    @operation("GET /endpoints/{endpoint}/log-counts")
    def log_counts(self, endpoint: str) -> LogCounts:
        """Count what the log holds by now: rows that were answered, and predictions that got a label."""
        check_name(endpoint, "endpoint")
        answered = self._log(endpoint).filter(pl.col("status") < 400).select(pl.len()).collect().item()
        labelled = self._scan(f"labels/{endpoint}").select(pl.col("prediction_id").n_unique()).collect().item()
        return LogCounts(int(answered), int(labelled))

    @operation("GET /endpoints/{endpoint}/predictions")
    def list_predictions(
        self, endpoint: str, start: datetime | None = None, end: datetime | None = None, limit: int = 50
    ) -> list[Prediction]:
        """List the newest predictions of an endpoint first, with their labels."""
        if not 1 <= limit <= _MOST_LISTED:
            raise InvalidRequest(f"limit must be from 1 to {_MOST_LISTED}")
        frame = self._log(endpoint)
        if start is not None:
            frame = frame.filter(pl.col("at") >= start)
        if end is not None:
            frame = frame.filter(pl.col("at") < end)
        newest = frame.sort("at", "prediction_id", descending=True).head(limit)
        return [_prediction(row) for row in self._with_labels(newest, endpoint).collect().to_dicts()]

    @operation("GET /endpoints/{endpoint}/predictions/{id}")
    def prediction(self, endpoint: str, id: str) -> Prediction:
        """Give one prediction; its release and model are refs, from which the lineage goes on to run and dataset.

        Raises NotFound when the log has none of the id (a prediction is in the log a moment after its answer).
        """
        one = self._log(endpoint).filter(pl.col("prediction_id") == id)
        found = self._with_labels(one, endpoint, id).collect()
        if found.is_empty():
            raise NotFound(
                f"endpoint {endpoint} has logged no prediction {id}; the log follows the answers by some seconds",
                endpoint=endpoint,
                id=id,
            )
        return _prediction(found.row(0, named=True))

    @operation("GET /endpoints/{endpoint}/labels")
    def label_counts(self, endpoint: str) -> LabelCounts:
        """Count the labels of an endpoint: received, repeated, and matched with a prediction or not."""
        check_name(endpoint, "endpoint")
        ids = self._scan(f"labels/{endpoint}").select("prediction_id")
        received = int(ids.select(pl.len()).collect().item())
        distinct = ids.unique()
        known = self._scan(f"log/{endpoint}").select("prediction_id")
        total = int(distinct.select(pl.len()).collect().item())
        matched = int(distinct.join(known, on="prediction_id", how="semi").select(pl.len()).collect().item())
        return LabelCounts(received, received - total, matched, total - matched)

    @operation("GET /endpoints/{endpoint}/arms")
    def arm_statistics(self, endpoint: str, since: datetime | None = None) -> list[ArmStatistics]:
        """Sum up each arm and release of an endpoint: requests, refusals, errors, latency and labels."""
        frame = self._with_labels(self._log(endpoint), endpoint)
        if since is not None:
            frame = frame.filter(pl.col("at") >= since)
        request = pl.col("prediction_id").str.slice(0, 26)
        # A request of many rows counts once: its rows share the first 26 characters of their ids.
        requests = frame.group_by("arm", "release", "model", request.alias("request")).agg(
            pl.col("status").first(), pl.col("latency_us").first(), pl.len().alias("rows"), pl.col("label").count()
        )
        status = pl.col("status")
        summed = requests.group_by("arm", "release", "model").agg(
            pl.len().alias("requests"),
            pl.col("rows").sum(),
            ((status >= 400) & (status < 500)).sum().alias("refused"),
            (status >= 500).sum().alias("errors"),
            pl.col("latency_us").quantile(0.5).alias("latency_us_p50"),
            pl.col("latency_us").quantile(0.99).alias("latency_us_p99"),
            pl.col("label").sum().alias("labelled"),
        )
        return [ArmStatistics(**row) for row in summed.sort("release", "arm").collect().to_dicts()]

    @operation("GET /spool/damages")
    def damages(self, limit: int = 100) -> list[SpoolDamage]:
        """List what in the spool could not be taken in, the newest first, and where its bytes were kept."""
        with self._database.read() as connection:
            return store.damages(connection, limit)

    def _joined(self, endpoint: str) -> pl.LazyFrame:
        return self._with_labels(self._log(endpoint), endpoint)

    def _with_labels(self, log: pl.LazyFrame, endpoint: str, only: str | None = None) -> pl.LazyFrame:
        received = self._scan(f"labels/{endpoint}")
        if only is not None:
            received = received.filter(pl.col("prediction_id") == only)
        labels = (
            received.sort("mark", "at", maintain_order=True)
            .group_by("prediction_id")
            .agg(
                pl.col("label").last(),
                pl.col("at").last().alias("label_at"),
                pl.col("mark").first().alias("met"),
            )
        )
        joined = log.join(labels, on="prediction_id", how="left", maintain_order="left")
        return joined.with_columns(
            pl.when(pl.col("met").is_not_null()).then(pl.max_horizontal("met", "mark")).alias("met")
        )

    def _log(self, endpoint: str) -> pl.LazyFrame:
        return self._scan(f"log/{check_name(endpoint, 'endpoint')}")

    def _scan(self, table: str) -> pl.LazyFrame:
        try:
            return self._tables.scan(table)
        except NotFound:
            return pl.LazyFrame(schema=LOG_SCHEMA if table.startswith("log/") else LABEL_SCHEMA)


def _prediction(row: dict[str, Any]) -> Prediction:
    output, label = row["output"], row["label"]
    return Prediction(
        id=row["prediction_id"],
        at=row["at"],
        endpoint=row["endpoint"],
        model=row["model"],
        release=row["release"],
        arm=row["arm"],
        unit=row["unit"],
        event_time=row["event_time"],
        latency_us=row["latency_us"],
        status=row["status"],
        features=_decode(row["features"]),
        output=None if output is None else _decode(output),
        score=row["score"],
        error=row["error"],
        label=None if label is None else _decode(label),
        label_at=row["label_at"],
    )
