"""Take the facts of the spool into the tables of predictions and labels, each exactly once.

The append to a table carries the spool's writer and record number as the table's own transaction, and the position in
the spool is committed after it. A process that dies between the two leaves rows whose numbers the table knows: the next
pass skips them (kill -9 at any moment neither loses nor doubles a record).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl

from mainspring.predictions import store
from mainspring.predictions.model import Fact, LabelFact, PredictionBatch, decode_fact
from mainspring.predictions.records import Ingested, SpoolDamage
from mainspring.predictions.rows import label_frame, log_frame
from mainspring.runtime.spool import SpoolBatch, SpoolReader
from mainspring.storage.sql.database import Database
from mainspring.storage.tables.store import TableStore

Numbered = list[tuple[int, Fact]]
_COMPACT_EVERY = 64


class Ingest:
    """Reads one spool into one table store; only one process does so at a time."""

    def __init__(self, tables: TableStore, database: Database, spool: Path | str) -> None:
        self._tables, self._database = tables, database
        self._reader = SpoolReader(spool)
        self._appends: Counter[str] = Counter()

    def run(self) -> Ingested:
        """Take in everything that is there now."""
        with self._database.read() as connection:
            positions = store.positions(connection)
        counts: Counter[str] = Counter()
        endpoints: dict[str, None] = {}
        for batch in self._reader.batches(positions):
            self._take(batch, counts, endpoints)
            self._reader.release(batch.end)
        return Ingested(**counts, endpoints=list(endpoints))

    def _take(self, batch: SpoolBatch, counts: Counter[str], endpoints: dict[str, None]) -> None:
        damages = [_damage_of(batch)] if batch.damage is not None else []
        predictions: dict[str, Numbered] = {}
        labels: dict[str, Numbered] = {}
        for number, record in enumerate(batch.records, batch.first):
            try:
                fact = decode_fact(record)
            except msgspec.MsgspecError as error:
                damages.append(self._keep(batch, number, record, error))
                continue
            kind = labels if isinstance(fact, LabelFact) else predictions
            kind.setdefault(fact.endpoint, []).append((number, fact))
        for endpoint, facts in predictions.items():
            rows = _log_rows(self._mark())
            counts["predictions"] += self._append(f"log/{endpoint}", batch, facts, counts, rows)
        for endpoint, facts in labels.items():
            rows = _label_rows(self._mark())
            counts["labels"] += self._append(f"labels/{endpoint}", batch, facts, counts, rows)
        counts["damages"] += len(damages)
        endpoints.update(dict.fromkeys([*predictions, *labels]))
        with self._database.begin() as connection:
            for damage in damages:
                store.insert_damage(connection, damage)
            store.set_position(connection, batch.end)

    def _mark(self) -> int:
        # One for each append and committed before it: rows of one mark come all at once, and none joins them later.
        with self._database.begin() as connection:
            return store.next_mark(connection)

    def _append(
        self,
        table: str,
        batch: SpoolBatch,
        facts: Numbered,
        counts: Counter[str],
        rows: Callable[[list[Fact]], pl.DataFrame],
    ) -> int:
        done = self._tables.committed(table, batch.writer)
        fresh = [fact for number, fact in facts if done is None or number > done]
        counts["skipped"] += len(facts) - len(fresh)
        if not fresh:
            return 0
        frame = rows(fresh)
        self._tables.append(table, frame, transaction=(batch.writer, batch.last))
        self._appends[table] += 1
        if self._appends[table] % _COMPACT_EVERY == 0:
            self._tables.compact(table)
        return frame.height

    def _keep(self, batch: SpoolBatch, number: int, record: bytes, error: Exception) -> SpoolDamage:
        folder = self._reader.root / batch.writer / "quarantine"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{number:020d}-{hashlib.sha256(record).hexdigest()[:8]}.record"
        file.write_bytes(record)
        return SpoolDamage(
            writer=batch.writer,
            kind="undecodable",
            segment=batch.end.segment,
            offset=batch.end.offset,
            records=1,
            kept=f"{file} ({error})",
            at=datetime.now(UTC),
        )


def _log_rows(mark: int) -> Callable[[list[Fact]], pl.DataFrame]:
    return lambda facts: log_frame([fact for fact in facts if isinstance(fact, PredictionBatch)], mark)


def _label_rows(mark: int) -> Callable[[list[Fact]], pl.DataFrame]:
    return lambda facts: label_frame([fact for fact in facts if isinstance(fact, LabelFact)], mark)


def _damage_of(batch: SpoolBatch) -> SpoolDamage:
    damage = batch.damage
    assert damage is not None
    return SpoolDamage(
        writer=damage.writer,
        kind=damage.kind,
        segment=damage.segment,
        offset=damage.offset,
        records=damage.records,
        kept=damage.quarantine,
        at=datetime.now(UTC),
    )
