"""The rows about datasets: names, versions, the tokens of imports, reports and profiles."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Connection, Index, Integer, Row, Table, Text, func, select

from mainspring.datasets.expectations import Expectation
from mainspring.datasets.model import Column as DataColumn
from mainspring.datasets.model import Dataset, DatasetVersion, ImportReport
from mainspring.datasets.profile import Profile
from mainspring.datasets.quality import QualityReport
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert

datasets = Table(
    "datasets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created", Instant, nullable=False),
    Column("expectations", Packed(list[Expectation]), nullable=True),
)

versions = Table(
    "dataset_versions",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("status", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("parent", Integer, nullable=True),
    Column("rows", BigInteger, nullable=False),
    Column("columns", Packed(list[DataColumn]), nullable=False),
    Column("content", Text, nullable=False),
    Column("table", Text, nullable=False),
    Column("table_version", BigInteger, nullable=False),
    Column("created", Instant, nullable=False),
    Column("source", Text, nullable=True),
    Column("key", Packed(list[str]), nullable=False),
    Column("time_column", Text, nullable=True),
    Column("expectations", Packed(list[Expectation]), nullable=False),
    Column("report", Text, nullable=True),
    Column("imported", Packed(ImportReport), nullable=False),
)

imports = Table(
    "dataset_imports",
    metadata,
    Column("token", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("version", Integer, nullable=False),
)

reports = Table(
    "dataset_reports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("created", Instant, nullable=False),
    Column("body", Packed(QualityReport), nullable=False),
    Index("ix_dataset_reports_version", "dataset", "version"),
)

profiles = Table(
    "dataset_profiles",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", Packed(Profile), nullable=False),
)


class DatasetStore:
    """The SQL of datasets; every method works in the transaction that it is given."""

    def ensure(self, connection: Connection, name: str, now: datetime) -> None:
        """Make the dataset known, if it is not."""
        upsert(connection, datasets, {"name": name, "created": now}, keys=["name"], update=[])

    def lock(self, connection: Connection, name: str) -> None:
        """Make other imports of this dataset wait until the transaction ends (SQLite has one writer anyhow)."""
        connection.execute(select(datasets.c.name).where(datasets.c.name == name).with_for_update())

    def expectations(self, connection: Connection, name: str) -> list[Expectation] | None:
        """Give the expectations for coming versions; None when none were ever set."""
        query = select(datasets.c.expectations).where(datasets.c.name == name)
        found: list[Expectation] | None = connection.execute(query).scalar()
        return found

    def set_expectations(self, connection: Connection, name: str, expectations: list[Expectation]) -> None:
        """Replace the expectations for coming versions."""
        connection.execute(datasets.update().where(datasets.c.name == name).values(expectations=expectations))

    def insert(self, connection: Connection, version: DatasetVersion, profile: Profile) -> None:
        """Write a version and its profile."""
        connection.execute(versions.insert(), msgspec.structs.asdict(version))
        row = {"dataset": version.dataset, "version": version.version, "body": profile}
        connection.execute(profiles.insert(), row)

    def insert_report(self, connection: Connection, report: QualityReport) -> None:
        """Write a quality report."""
        row = {"id": report.id, "dataset": report.dataset, "version": report.version}
        row |= {"passed": report.passed, "created": report.created, "body": report}
        connection.execute(reports.insert(), row)

    def note_token(self, connection: Connection, token: str, dataset: str, version: int) -> None:
        """Remember which version the import of a token gave; a token that is known keeps its first."""
        row = {"token": token, "dataset": dataset, "version": version}
        upsert(connection, imports, row, keys=["token"], update=[])

    def of_token(self, connection: Connection, token: str) -> tuple[str, int] | None:
        """Give the dataset and version that the import of a token gave."""
        found = connection.execute(select(imports.c.dataset, imports.c.version).where(imports.c.token == token)).first()
        return None if found is None else (found[0], found[1])

    def find(self, connection: Connection, name: str, version: int) -> DatasetVersion | None:
        """Give a version, accepted or quarantined."""
        query = select(versions).where(versions.c.dataset == name, versions.c.version == version)
        return _first(connection.execute(query).first())

    def latest(self, connection: Connection, name: str, at: datetime | None = None) -> DatasetVersion | None:
        """Give the newest accepted version, or the newest that was accepted at or before *at*."""
        query = select(versions).where(versions.c.dataset == name, versions.c.status == "accepted")
        if at is not None:
            query = query.where(versions.c.created <= at)
        return _first(connection.execute(query.order_by(versions.c.version.desc()).limit(1)).first())

    def last_number(self, connection: Connection, name: str) -> int:
        """Give the highest version number in use, 0 when there is none."""
        return connection.execute(select(func.max(versions.c.version)).where(versions.c.dataset == name)).scalar() or 0

    def quarantined_like(self, connection: Connection, name: str, content: str, after: int) -> DatasetVersion | None:
        """Give a quarantined version with this content, newer than *after*."""
        query = select(versions).where(
            versions.c.dataset == name,
            versions.c.status == "quarantined",
            versions.c.content == content,
            versions.c.version > after,
        )
        return _first(connection.execute(query.order_by(versions.c.version.desc()).limit(1)).first())

    def versions(self, connection: Connection, name: str) -> list[DatasetVersion]:
        """List all versions, the newest first."""
        query = select(versions).where(versions.c.dataset == name).order_by(versions.c.version.desc())
        return [_version(row) for row in connection.execute(query)]

    def datasets(self, connection: Connection, name: str | None = None) -> list[Dataset]:
        """List the datasets by name, or the one of this name."""
        query = select(datasets.c.name, datasets.c.created).order_by(datasets.c.name)
        if name is not None:
            query = query.where(datasets.c.name == name)
        return [self._dataset(connection, row[0], row[1]) for row in connection.execute(query).all()]

    def _dataset(self, connection: Connection, name: str, created: datetime) -> Dataset:
        counts = select(versions.c.status, func.count(), func.max(versions.c.created)).where(versions.c.dataset == name)
        found = {status: (count, at) for status, count, at in connection.execute(counts.group_by(versions.c.status))}
        latest = self.latest(connection, name)
        return Dataset(
            name=name,
            latest=latest.version if latest else None,
            versions=sum(count for count, _ in found.values()),
            quarantined=found.get("quarantined", (0, None))[0],
            rows=latest.rows if latest else 0,
            created=created,
            updated=max((at for _, at in found.values()), default=created),
        )

    def profile(self, connection: Connection, name: str, version: int) -> Profile | None:
        """Give the profile of a version."""
        query = select(profiles.c.body).where(profiles.c.dataset == name, profiles.c.version == version)
        found: Profile | None = connection.execute(query).scalar()
        return found

    def report(self, connection: Connection, id: str) -> QualityReport | None:
        """Give a quality report."""
        found: QualityReport | None = connection.execute(select(reports.c.body).where(reports.c.id == id)).scalar()
        return found


def _first(row: Row[Any] | None) -> DatasetVersion | None:
    return None if row is None else _version(row)


def _version(row: Row[Any]) -> DatasetVersion:
    return DatasetVersion(**row._mapping)
