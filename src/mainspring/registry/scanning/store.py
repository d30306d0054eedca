"""Where the reports of scans are kept, and which files were allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Column, Integer, Table, Text, delete, select
from sqlalchemy import Connection as Connection

from mainspring.registry.scanning.model import AllowedFile, ScanReport, VersionScan
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert

model_scans = Table(
    "model_scans",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("report", Packed(ScanReport), nullable=False),
)

allowed_files = Table(
    "allowed_files",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
)


def keep(connection: Connection, name: str, version: int, scan: VersionScan) -> None:
    """Keep the report of a version in place of an earlier one."""
    row = {"name": name, "version": version, "at": scan.at, "actor": scan.actor, "report": scan.report}
    upsert(connection, model_scans, row, keys=["name", "version"])


def find(connection: Connection, name: str, version: int, ref: str) -> VersionScan | None:
    """Find the report of a version."""
    c = model_scans.c
    row = connection.execute(select(c.at, c.actor, c.report).where((c.name == name) & (c.version == version))).first()
    if row is None:
        return None
    return VersionScan(model=ref, verdict=row.report.verdict, at=row.at, actor=row.actor, report=row.report)


def allow(connection: Connection, file: AllowedFile) -> bool:
    """Allow a file; False when it is already."""
    row = {"digest": file.digest, "reason": file.reason, "at": file.at, "actor": file.actor}
    return upsert(connection, allowed_files, row, keys=["digest"], update=[]) == 1


def disallow(connection: Connection, digest: str) -> bool:
    """Allow a file no more; False when it was not."""
    return connection.execute(delete(allowed_files).where(allowed_files.c.digest == digest)).rowcount == 1


def allowed_of(connection: Connection, digests: Iterable[str]) -> list[str]:
    """Give those of some files that are allowed."""
    wanted = list(digests)
    found: list[str] = []
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        query = select(allowed_files.c.digest).where(allowed_files.c.digest.in_(part))
        found += connection.execute(query).scalars().all()
    return found


def list_allowed(connection: Connection, after: str, limit: int) -> Sequence[AllowedFile]:
    """List the files that are allowed, by digest."""
    c = allowed_files.c
    query = select(c.digest, c.reason, c.at, c.actor).where(c.digest > after).order_by(c.digest).limit(limit)
    return [AllowedFile(**row._mapping) for row in connection.execute(query)]
