"""The tables of evaluation datasets, and the SQL that writes and reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy import Connection as Connection

from mainspring.core.errors import NotFound
from mainspring.datasets.evaluation.merging import text_of
from mainspring.datasets.evaluation.model import (
    EvaluationDataset,
    EvaluationDatasetVersion,
    EvaluationRecord,
    FieldTypes,
    RecordSource,
)
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert

_ROWS = 500
T = TypeVar("T")

datasets = Table(
    "evaluation_datasets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("version", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("created", Instant, nullable=False, index=True),
    Column("updated", Instant, nullable=False),
    Column("created_by", Text),
    Column("updated_by", Text),
    Column("fields", Packed(FieldTypes)),
)


def _of_dataset() -> Column[str]:
    return Column("dataset", Text, ForeignKey("evaluation_datasets.id", ondelete="CASCADE"), primary_key=True)


dataset_tags = Table(
    "evaluation_dataset_tags",
    metadata,
    _of_dataset(),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

dataset_experiments = Table(
    "evaluation_dataset_experiments",
    metadata,
    _of_dataset(),
    Column("experiment", Text, primary_key=True, index=True),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

dataset_versions = Table(
    "evaluation_dataset_versions",
    metadata,
    _of_dataset(),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("created", Instant, nullable=False),
    sqlite_with_rowid=False,
)

records = Table(  # What a record was in each version: from the version ``since`` to that before ``until``.
    "evaluation_records",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("until", BigInteger),
    Column("position", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("outputs", Text, nullable=False),
    Column("expectations", Text),
    Column("tags", Text, nullable=False),
    Column("source_type", Text),
    Column("source", Text),
    Column("created", Instant, nullable=False),
    Column("updated", Instant, nullable=False),
    Column("created_by", Text),
    Column("updated_by", Text),
    ForeignKeyConstraint(["dataset"], ["evaluation_datasets.id"], ondelete="CASCADE"),
    Index("ix_evaluation_records_position", "dataset", "position"),
    Index(
        "ix_evaluation_records_hash",
        "dataset",
        "hash",
        unique=True,
        sqlite_where=text("until IS NULL"),
        postgresql_where=text("until IS NULL"),
    ),
)

_COPIED = ("id", "dataset", "since", "position", "created", "updated", "created_by", "updated_by")


def parts(rows: Sequence[T]) -> Iterable[Sequence[T]]:
    """Cut rows into as many as one statement takes."""
    for at in range(0, len(rows), _ROWS):
        yield rows[at : at + _ROWS]


# Datasets


def insert_dataset(connection: Connection, dataset: EvaluationDataset, content: str) -> None:
    """Add a dataset with its tags."""
    row = {column.name: getattr(dataset, column.name) for column in datasets.c if column.name != "content"}
    connection.execute(insert(datasets), {**row, "content": content})
    set_tags(connection, dataset.id, dataset.tags)


def require(connection: Connection, dataset: str) -> EvaluationDataset:
    """Get a dataset; raises NotFound."""
    # An id with characters that no database keeps is nobody's.
    found = read(connection, select(datasets).where(datasets.c.id == dataset)) if dataset.isprintable() else []
    if not found:
        raise NotFound(f"Evaluation dataset with id '{dataset}' not found", dataset=dataset)
    return found[0]


def lock(connection: Connection, dataset: str) -> tuple[EvaluationDataset, str]:
    """Get a dataset that no other transaction changes until the end of this one, with its content; raises NotFound."""
    query = select(datasets.c.content).where(datasets.c.id == dataset).with_for_update()
    content = connection.execute(query).scalar() if dataset.isprintable() else None
    return require(connection, dataset), str(content)


def read(connection: Connection, query: Select[Any]) -> list[EvaluationDataset]:
    """Give the datasets that a query of their table finds, with their tags."""
    rows = connection.execute(query).all()
    tags: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    for part in parts(list(tags)):
        chosen = select(dataset_tags).where(dataset_tags.c.dataset.in_(part)).order_by(dataset_tags.c.key)
        for dataset, key, value in connection.execute(chosen):
            tags[dataset][key] = value
    kept = [column.name for column in datasets.c if column.name != "content"]
    return [EvaluationDataset(**{name: row._mapping[name] for name in kept}, tags=tags[row.id]) for row in rows]


def change(connection: Connection, dataset: str, **values: Any) -> None:
    """Change columns of a dataset."""
    connection.execute(update(datasets).where(datasets.c.id == dataset).values(**values))


def delete_dataset(connection: Connection, dataset: str) -> None:
    """Delete a dataset with all that belongs to it."""
    connection.execute(delete(datasets).where(datasets.c.id == dataset))


def set_tags(connection: Connection, dataset: str, tags: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same key."""
    rows = [{"dataset": dataset, "key": key, "value": value} for key, value in tags.items()]
    for part in parts(rows):
        upsert(connection, dataset_tags, part, keys=["dataset", "key"])


def delete_tag(connection: Connection, dataset: str, key: str) -> bool:
    """Remove a tag and tell whether it was there."""
    mine = (dataset_tags.c.dataset == dataset) & (dataset_tags.c.key == key)
    return connection.execute(delete(dataset_tags).where(mine)).rowcount > 0


def add_experiments(connection: Connection, dataset: str, experiments: Sequence[str]) -> None:
    """Say that a dataset belongs to experiments, after those that it belongs to already."""
    mine = dataset_experiments.c.dataset == dataset
    last = connection.execute(select(func.max(dataset_experiments.c.position)).where(mine)).scalar() or 0
    rows = [
        {"dataset": dataset, "experiment": experiment, "position": last + at}
        for at, experiment in enumerate(dict.fromkeys(experiments), 1)
    ]
    upsert(connection, dataset_experiments, rows, keys=["dataset", "experiment"], update=[])


def remove_experiments(connection: Connection, dataset: str, experiments: Sequence[str]) -> int:
    """Say that a dataset does not belong to experiments any longer; gives to how many it did."""
    c = dataset_experiments.c
    return connection.execute(
        delete(dataset_experiments).where(c.dataset == dataset, c.experiment.in_(experiments))
    ).rowcount


def experiments_of(connection: Connection, dataset: str) -> list[str]:
    """List the experiments that a dataset belongs to, in the order in which they were added."""
    c = dataset_experiments.c
    query = select(c.experiment).where(c.dataset == dataset).order_by(c.position, c.experiment)
    return list(connection.execute(query).scalars())


# Versions


def insert_version(connection: Connection, version: EvaluationDatasetVersion) -> None:
    """Note that a dataset has a new version."""
    connection.execute(insert(dataset_versions), msgspec.structs.asdict(version))


def versions_of(connection: Connection, dataset: str) -> list[EvaluationDatasetVersion]:
    """List the versions of a dataset, the newest first."""
    c = dataset_versions.c
    query = select(dataset_versions).where(c.dataset == dataset).order_by(c.version.desc())
    return [EvaluationDatasetVersion(*row) for row in connection.execute(query)]


def version_with(connection: Connection, dataset: str, digest: str) -> int | None:
    """Give the latest version of a dataset that had this digest."""
    c = dataset_versions.c
    query = select(func.max(c.version)).where(c.dataset == dataset, c.digest == digest)
    found: int | None = connection.execute(query).scalar()
    return found


# Records


def standing_by_hash(connection: Connection, dataset: str, hashes: Sequence[str]) -> dict[str, EvaluationRecord]:
    """Give those records of a dataset now whose inputs have these hashes."""
    found: dict[str, EvaluationRecord] = {}
    for part in parts(hashes):
        query = select(records).where(records.c.dataset == dataset, records.c.hash.in_(part), records.c.until.is_(None))
        found |= {row.hash: _record(row) for row in connection.execute(query)}
    return found


def standing_by_id(connection: Connection, dataset: str, ids: Sequence[str]) -> list[EvaluationRecord]:
    """Give those records of a dataset now that have these ids."""
    found: list[EvaluationRecord] = []
    for part in parts(ids):
        query = select(records).where(records.c.dataset == dataset, records.c.id.in_(part), records.c.until.is_(None))
        found += [_record(row) for row in connection.execute(query)]
    return found


def last_position(connection: Connection, dataset: str) -> int:
    """Give the position of the last record that a dataset ever had."""
    return connection.execute(select(func.max(records.c.position)).where(records.c.dataset == dataset)).scalar() or 0


def end_records(connection: Connection, dataset: str, ids: Sequence[str], version: int) -> None:
    """Say that records as they are now end before a version."""
    c = records.c
    statement = update(records).where(c.dataset == dataset, c.id == bindparam("record"), c.until.is_(None))
    if ids:
        connection.execute(statement.values(until=version), [{"record": id} for id in ids])


def insert_records(connection: Connection, added: Mapping[str, EvaluationRecord]) -> None:
    """Add records as they are from now on, by the hashes of their inputs."""
    if added:
        connection.execute(insert(records), [_row(one, hash) for hash, one in added.items()])


def records_page(
    connection: Connection, dataset: str, version: int | None, after: int, limit: int
) -> list[EvaluationRecord]:
    """List records of a dataset, now or as they were in a version, in the order in which they first came."""
    c = records.c
    query = select(records).where(c.dataset == dataset, c.position > after)
    if version is None:
        query = query.where(c.until.is_(None))
    else:
        query = query.where(c.since <= version, or_(c.until.is_(None), c.until > version))
    return [_record(row) for row in connection.execute(query.order_by(c.position).limit(limit))]


def _row(record: EvaluationRecord, hash: str) -> dict[str, Any]:
    source = record.source
    return {name: getattr(record, name) for name in _COPIED} | {
        "hash": hash,
        "inputs": text_of(record.inputs),
        "outputs": text_of(record.outputs),
        "expectations": None if record.expectations is None else text_of(record.expectations),
        "tags": text_of(record.tags),
        "source_type": None if source is None else source.type,
        "source": None if source is None else text_of(source.data),
    }


def _record(row: Row[Any]) -> EvaluationRecord:
    return EvaluationRecord(
        **{name: row._mapping[name] for name in _COPIED},
        inputs=json.loads(row.inputs),
        outputs=json.loads(row.outputs),
        expectations=None if row.expectations is None else json.loads(row.expectations),
        tags=json.loads(row.tags),
        source=None if row.source_type is None else RecordSource(row.source_type, json.loads(row.source)),
    )
