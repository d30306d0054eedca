"""Datasets: import, check, read and compare the versions of tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.ids import new_id
from mainspring.core.operations import operation
from mainspring.core.refs import Ref, check_name
from mainspring.datasets.difference import VersionDiff, diff
from mainspring.datasets.events import ExpectationsSet, QualityChecked
from mainspring.datasets.expectations import Expectation
from mainspring.datasets.importing import Importer, Plan
from mainspring.datasets.model import Dataset, DatasetVersion, Format, Mode, Page, ReadOptions
from mainspring.datasets.profile import Profile, plain
from mainspring.datasets.quality import QualityReport, evaluate
from mainspring.datasets.reading import read_bytes, read_frame
from mainspring.datasets.store import DatasetStore
from mainspring.datasets.suggestions import suggest
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.storage.tables.store import TableStore

_MAX_PAGE = 1000
# Inside of a class with a verb called list, the type needs other names.
Expectations = list[Expectation]
Versions = list[DatasetVersion]
Everything = list[Dataset]
Names = list[str]


class Datasets:
    """The verbs of datasets. Threads may share one."""

    def __init__(
        self, database: Database, tables: TableStore, objects: ObjectStore, clock: Clock | None = None
    ) -> None:
        self.database = database
        self.objects = objects
        self.clock = clock or SystemClock()
        self.store = DatasetStore()
        self.importer = Importer(database, tables, self.store, self.clock)

    @operation("POST /datasets/{name}/versions")
    def create_version(
        self,
        name: str,
        digest: str,
        format: Format = "auto",
        options: ReadOptions | None = None,
        key: Names | None = None,
        time_column: str | None = None,
        mode: Mode = "replace",
        evolve: bool = False,
        check: bool | None = None,
        expectations: Expectations | None = None,
        token: str | None = None,
    ) -> DatasetVersion:
        """Import an uploaded CSV, Parquet or Arrow file, by the digest of its content, as the next version.

        The columns must be those of the latest version, unless *evolve*. *key* and *time_column* say what the rows
        mean; left out, they are those of the latest version. *check* holds the rows against the expectations first:
        those given here, else those of the dataset; by default whenever there are any. The first version has its
        expectations suggested from the data. Content that the latest version has already gives that version.

        Raises InvalidData naming what is wrong with the file or its columns, and QualityFailed with the failed checks
        and their first rows; the version is then kept, quarantined, and the latest stays what it was.
        """
        plan = Plan(
            name=name,
            source=digest,
            key=key,
            time_column=time_column,
            mode=mode,
            evolve=evolve,
            check=check,
            expectations=expectations,
            token=token,
        )
        if done := self.importer.replayed(plan):
            return done
        data = self.objects.get_bytes(digest)
        return self.importer.run(plan, read_bytes(data, format, options, self._types(name)))

    def import_frame(
        self,
        name: str,
        frame: object,
        *,
        key: Sequence[str] | str | None = None,
        time_column: str | None = None,
        mode: Mode = "replace",
        evolve: bool = False,
        check: bool | None = None,
        expectations: Sequence[Expectation] | None = None,
        source: str | None = None,
        token: str | None = None,
    ) -> DatasetVersion:
        """Import a DataFrame (polars, pandas, pyarrow, or any with ``__arrow_c_stream__``); see `create_version`.

        *source* is a ref of what the frame came from, for lineage.
        """
        plan = Plan(
            name=name,
            source=source,
            key=[key] if isinstance(key, str) else None if key is None else [*key],
            time_column=time_column,
            mode=mode,
            evolve=evolve,
            check=check,
            expectations=None if expectations is None else [*expectations],
            token=token,
        )
        return self.importer.replayed(plan) or self.importer.run(plan, read_frame(frame))

    def _types(self, name: str) -> dict[str, str]:
        with self.database.read() as connection:
            latest = self.store.latest(connection, name)
        return latest.types if latest else {}

    @operation("GET /datasets")
    def list(self) -> Everything:
        """List the datasets by name."""
        with self.database.read() as connection:
            return self.store.datasets(connection)

    @operation("GET /datasets/{name}")
    def get(self, name: str) -> Dataset:
        """Show a dataset; raises NotFound."""
        with self.database.read() as connection:
            found = self.store.datasets(connection, name)
        if not found:
            raise NotFound(f"there is no dataset {name!r}; `mainspring dataset list` shows those there are", name=name)
        return found[0]

    @operation("GET /datasets/{name}/versions")
    def versions(self, name: str) -> Versions:
        """List the versions of a dataset, the newest first, quarantined ones among them; raises NotFound."""
        self.get(name)
        with self.database.read() as connection:
            return self.store.versions(connection, name)

    @operation("GET /datasets/{name}/versions/{version}")
    def version(self, name: str, version: int) -> DatasetVersion:
        """Show a version, accepted or quarantined; raises NotFound."""
        with self.database.read() as connection:
            found = self.store.find(connection, name, version)
        if found is None:
            raise NotFound(f"dataset {name!r} has no version {version}", name=name, version=version)
        return found

    @operation("GET /datasets/{name}/latest")
    def latest(self, name: str, at: datetime | None = None) -> DatasetVersion:
        """Show the newest accepted version, or the one that was the newest at an instant; raises NotFound."""
        if at is not None and at.tzinfo is None:
            raise InvalidRequest("the instant has no time zone: write it like 2026-01-31T12:00:00Z")
        with self.database.read() as connection:
            found = self.store.latest(connection, name, at)
        if found is None:
            when = "" if at is None else f" at {at.isoformat()}"
            self.get(name)
            raise NotFound(f"dataset {name!r} has no accepted version{when}", name=name)
        return found

    def resolve(self, ref: str) -> DatasetVersion:
        """Give the version that ``dataset:name@3``, ``dataset:name`` (the latest) or ``name`` stands for."""
        parsed = Ref.parse(ref, kind="dataset")
        if parsed.version is not None:
            return self.version(parsed.name, parsed.version)
        if parsed.alias not in (None, "latest"):
            raise InvalidRequest(f"{ref!r}: a dataset has versions and @latest, no other alias", ref=ref)
        return self.latest(parsed.name)

    def read(
        self,
        name: str,
        version: int | None = None,
        *,
        at: datetime | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Give the rows of a version in the order of their import: by number, at an instant, or the latest.

        Raises NotFound, and InvalidRequest for a column that is not there.
        """
        found = self.version(name, version) if version is not None else self.latest(name, at)
        return self.rows(found, columns)

    def rows(self, version: DatasetVersion, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Give the rows of a version that was resolved before; as `read`."""
        return self.importer.rows(version, columns)

    def scan(self, name: str, version: int | None = None) -> pl.LazyFrame:
        """Give the rows of a version lazily, in no particular order; raises NotFound."""
        found = self.version(name, version) if version is not None else self.latest(name)
        return self.importer.scan(found)

    @operation("GET /datasets/{name}/versions/{version}/rows")
    def preview(self, name: str, version: int, offset: int = 0, limit: int = 20) -> Page:
        """Show some rows of a version from row *offset* (0-based), at most 1,000 at once."""
        if offset < 0 or not 1 <= limit <= _MAX_PAGE:
            raise InvalidRequest(f"expected an offset from 0 and a limit from 1 to {_MAX_PAGE}")
        found = self.version(name, version)
        rows = self.importer.slice(found, offset, limit)
        plain_rows = [[plain(value) for value in row] for row in rows.iter_rows()]
        return Page(found.ref, found.columns, offset, found.rows, plain_rows)

    @operation("GET /datasets/{name}/versions/{version}/profile")
    def profile(self, name: str, version: int) -> Profile:
        """Show what each column of a version holds; raises NotFound."""
        self.version(name, version)
        with self.database.read() as connection:
            found = self.store.profile(connection, name, version)
        if found is None:
            raise NotFound(f"version {version} of dataset {name!r} has no profile", name=name, version=version)
        return found

    @operation("GET /datasets/{name}/versions/{version}/suggestions")
    def suggest(self, name: str, version: int) -> Expectations:
        """Suggest expectations for the versions to come from what this one holds; raises NotFound."""
        return suggest(self.profile(name, version))

    @operation("GET /datasets/{name}/expectations")
    def expectations(self, name: str) -> Expectations:
        """List the expectations that coming versions must meet; raises NotFound."""
        self.get(name)
        with self.database.read() as connection:
            return self.store.expectations(connection, name) or []

    @operation("PUT /datasets/{name}/expectations")
    def set_expectations(self, name: str, expectations: Expectations) -> Dataset:
        """Replace the expectations that coming versions must meet; the dataset need not exist yet."""
        check_name(name, "dataset")
        with self.database.begin() as connection:
            self.store.ensure(connection, name, self.clock.now())
            self.store.set_expectations(connection, name, expectations)
            emit(connection, ExpectationsSet(dataset=name, count=len(expectations)))
        return self.get(name)

    @operation("POST /datasets/{name}/versions/{version}/checks")
    def check(
        self,
        name: str,
        version: int,
        expectations: Expectations | None = None,
    ) -> QualityReport:
        """Hold a version against expectations: those given, else those of the dataset; the report is stored.

        A failed check is told in the report, it raises nothing here. Raises NotFound.
        """
        found = self.version(name, version)
        wanted = self.expectations(name) if expectations is None else expectations
        report = self._report(found, wanted)
        failed = [str(check) for check in report.failed]
        with self.database.begin() as connection:
            self.store.insert_report(connection, report)
            emit(
                connection,
                QualityChecked(dataset=name, version=version, report=report.id, passed=report.passed, failed=failed),
            )
        return report

    def _report(self, version: DatasetVersion, expectations: Sequence[Expectation]) -> QualityReport:
        frame = self.rows(version)
        now = self.clock.now()
        checks = evaluate(frame, expectations, key=version.key, now=now, reference=self.importer.reference(version))
        return QualityReport(
            id=f"report:{new_id()}",
            dataset=version.dataset,
            version=version.version,
            created=now,
            rows=version.rows,
            passed=not any(check.refuses for check in checks),
            checks=checks,
        )

    @operation("GET /quality-reports/{report}")
    def report(self, report: str) -> QualityReport:
        """Show a quality report by its ref (``report:<id>``) or id; raises NotFound."""
        id = report if report.startswith("report:") else f"report:{report}"
        with self.database.read() as connection:
            found = self.store.report(connection, id)
        if found is None:
            raise NotFound(f"there is no quality report {id!r}", report=id)
        return found

    @operation("GET /datasets/{name}/diff")
    def diff(self, name: str, before: int, after: int, key: Names | None = None) -> VersionDiff:
        """Compare two versions: rows added, removed and changed by key, schema changes, and each column.

        *key* is by default that of the later version; an empty one compares whole rows. Raises NotFound, and
        InvalidData when the key is not unique.
        """
        old, new = self.version(name, before), self.version(name, after)
        wanted = new.key if key is None else key
        return diff(name, before, after, self.rows(old), self.rows(new), wanted)
