"""How an import becomes a version: shape, hash, profile, check, write the table, and last the record of it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import msgspec
import polars as pl

from mainspring.core.clock import Clock
from mainspring.core.errors import Conflict, InvalidData, InvalidRequest, QualityFailed
from mainspring.core.ids import new_id
from mainspring.core.refs import check_name
from mainspring.datasets.columns import columns_of
from mainspring.datasets.content import chained_hash, content_hash
from mainspring.datasets.events import DatasetVersionCreated, DatasetVersionQuarantined, QualityChecked
from mainspring.datasets.expectations import Expectation, SameDistribution
from mainspring.datasets.meaning import check_meaning, with_warnings
from mainspring.datasets.model import DatasetVersion, ImportReport, Mode
from mainspring.datasets.profile import Profile, profile
from mainspring.datasets.quality import CheckResult, QualityReport, Reference, describe_failures, evaluate
from mainspring.datasets.reading import Read
from mainspring.datasets.schema_change import fit, joined
from mainspring.datasets.store import DatasetStore
from mainspring.datasets.suggestions import suggest
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.storage.tables.store import TableStore

ROW = "__row__"
_ATTEMPTS = 5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an import was asked to do."""

    name: str
    source: str | None
    key: list[str] | None
    time_column: str | None
    mode: Mode
    evolve: bool
    check: bool | None
    expectations: list[Expectation] | None
    token: str | None


class _Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is ready but for its number: its rows, those of them that are new, and what is known of them."""

    plan: Plan
    parent: DatasetVersion | None
    whole: pl.DataFrame
    added: pl.DataFrame
    content: str
    key: list[str]
    time_column: str | None
    expectations: list[Expectation]
    imported: ImportReport
    profile: Profile
    checks: list[CheckResult] | None

    @property
    def failed(self) -> list[CheckResult]:
        return [check for check in self.checks or [] if check.refuses]


class Importer:
    """Makes versions. The table is written first and the record last: what has no record was never there."""

    def __init__(self, database: Database, tables: TableStore, store: DatasetStore, clock: Clock) -> None:
        self.database = database
        self.tables = tables
        self.store = store
        self.clock = clock
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    # Reading

    def rows(self, version: DatasetVersion, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Give the rows of a version in the order of their import."""
        wanted = [column.name for column in version.columns] if columns is None else list(columns)
        if unknown := [name for name in wanted if name not in version.types]:
            raise InvalidRequest(f"{version.ref} has no column {', '.join(unknown)}", columns=unknown)
        frame = self.tables.read(version.table, version.table_version, [ROW, *wanted])
        if not frame.get_column(ROW).is_sorted():
            frame = frame.sort(ROW)
        return frame.drop(ROW)

    def scan(self, version: DatasetVersion) -> pl.LazyFrame:
        """Give the rows of a version lazily."""
        names = [column.name for column in version.columns]
        return self.tables.scan(version.table, version.table_version).select(names)

    def slice(self, version: DatasetVersion, offset: int, limit: int) -> pl.DataFrame:
        """Give *limit* rows from *offset* on."""
        number = pl.col(ROW)
        plan = self.tables.scan(version.table, version.table_version)
        found = plan.filter((number >= offset) & (number < offset + limit)).sort(ROW).collect()
        return found.select([column.name for column in version.columns])

    def reference(self, version: DatasetVersion | None, parent: DatasetVersion | None = None) -> Reference:
        """Give the function that finds the column of an older version, by default of the parent of *version*."""

        def column(expectation: SameDistribution) -> pl.Series | None:
            with self.database.read() as connection:
                found = parent
                if version is not None and version.parent is not None:
                    found = self.store.find(connection, version.dataset, version.parent)
                name = version.dataset if version else parent.dataset if parent else None
                if expectation.reference is not None and name is not None:
                    found = self.store.find(connection, name, expectation.reference)
            if found is None or expectation.column not in found.types:
                return None
            return self.rows(found, [expectation.column]).to_series()

        return column

    # Writing

    def replayed(self, plan: Plan) -> DatasetVersion | None:
        """Give what the import of the same token gave before, or None; raises QualityFailed again if it did."""
        check_name(plan.name, "dataset")
        if plan.token is None:
            return None
        with self.database.read() as connection:
            found = self.store.of_token(connection, plan.token)
            if found is None:
                return None
            if found[0] != plan.name:
                raise Conflict(f"the token {plan.token!r} was used for dataset {found[0]!r}: use a new one")
            version = self.store.find(connection, *found)
            report = self.store.report(connection, version.report) if version and version.report else None
        if version is not None and version.status == "quarantined" and report is not None:
            raise _refusal(version, report)
        return version

    def run(self, plan: Plan, read: Read) -> DatasetVersion:
        """Make the version; raises InvalidData, QualityFailed, and Conflict when others keep importing at once."""
        with self._locks[plan.name]:
            for _ in range(_ATTEMPTS):
                if done := self.replayed(plan):
                    return done
                parent = self._latest(plan.name)
                draft = self._draft(plan, read, parent)
                if done := self._same(draft):
                    return done
                if made := self._write(draft):
                    return made
        raise Conflict(f"dataset {plan.name!r} is being imported by others at the same time: try again", name=plan.name)

    def _latest(self, name: str) -> DatasetVersion | None:
        with self.database.read() as connection:
            return self.store.latest(connection, name)

    def _draft(self, plan: Plan, read: Read, parent: DatasetVersion | None) -> _Draft:
        added, whole, content = self._shaped(plan, read, parent)
        key = plan.key if plan.key is not None else parent.key if parent else []
        time_column = plan.time_column or (parent.time_column if parent else None)
        check_meaning(whole, key, time_column, read.report.warnings)
        known = profile(whole, key, time_column)
        given = plan.expectations if plan.expectations is not None else self._expectations(plan.name)
        wanted = suggest(known) if given is None else given
        checks = self._checks(plan, whole, key, parent, given)
        return _Draft(
            plan=plan,
            parent=parent,
            whole=whole,
            added=added,
            content=content,
            key=key,
            time_column=time_column,
            expectations=wanted,
            imported=with_warnings(read.report, known),
            profile=known,
            checks=checks,
        )

    def _shaped(self, plan: Plan, read: Read, parent: DatasetVersion | None) -> tuple[pl.DataFrame, pl.DataFrame, str]:
        """Give the new rows in the schema of the parent, all rows of the version, and its content hash."""
        added = read.frame
        if ROW in added.columns:
            raise InvalidData(f"a column cannot be called {ROW}: rename it", column=ROW)
        if parent is None:
            return added, added, content_hash(added)
        added = fit(added, parent.types, plan.name, read.report.warnings, evolve=plan.evolve)
        content = content_hash(added)
        if plan.mode == "replace":
            return added, added, content
        content = chained_hash(parent.content, content) if added.height else parent.content
        return added, joined(self.rows(parent), added), content

    def _expectations(self, name: str) -> list[Expectation] | None:
        with self.database.read() as connection:
            return self.store.expectations(connection, name)

    def _checks(
        self,
        plan: Plan,
        whole: pl.DataFrame,
        key: list[str],
        parent: DatasetVersion | None,
        given: list[Expectation] | None,
    ) -> list[CheckResult] | None:
        wanted = bool(given) if plan.check is None else plan.check
        if not wanted or given is None:
            return None
        reference = self.reference(None, parent)
        return evaluate(whole, given, key=key, now=self.clock.now(), reference=reference)

    def _same(self, draft: _Draft) -> DatasetVersion | None:
        """Give the latest version when it is this one already, noting the token."""
        parent = draft.parent
        if parent is None or parent.content != draft.content or draft.failed:
            return None
        if (parent.key, parent.time_column) != (draft.key, draft.time_column):
            return None
        if draft.plan.token is not None:
            with self.database.begin() as connection:
                self.store.note_token(connection, draft.plan.token, parent.dataset, parent.version)
        return parent

    def _write(self, draft: _Draft) -> DatasetVersion | None:
        """Write table and record; None when somebody else made a version meanwhile and all is to be done again."""
        if draft.failed:
            return self._quarantine(draft)
        table = f"datasets/{draft.plan.name}"
        table_version = self._write_table(draft, table)
        if table_version is None:
            return None
        report = self._report(draft) if draft.checks is not None else None
        return self._record(draft, table, table_version, report)

    def _write_table(self, draft: _Draft, table: str) -> int | None:
        parent = draft.parent
        can_append = (
            draft.plan.mode == "append"
            and parent is not None
            and parent.table == table
            and columns_of(draft.added) == parent.columns
            # A version of the table without a record is what a crash left behind: never add to it.
            and self.tables.version(table) == parent.table_version
        )
        if not can_append or parent is None:
            return self.tables.overwrite(table, _numbered(draft.whole, 0))
        written = self.tables.append(table, _numbered(draft.added, parent.rows))
        return written if written == parent.table_version + 1 else None

    def _report(self, draft: _Draft) -> QualityReport:
        return QualityReport(
            id=f"report:{new_id()}",
            dataset=draft.plan.name,
            version=0,
            created=self.clock.now(),
            rows=draft.whole.height,
            passed=not draft.failed,
            checks=draft.checks or [],
        )

    def _record(
        self, draft: _Draft, table: str, table_version: int, report: QualityReport | None
    ) -> DatasetVersion | None:
        plan, now = draft.plan, self.clock.now()
        with self.database.begin() as connection:
            self.store.ensure(connection, plan.name, now)
            self.store.lock(connection, plan.name)
            if plan.token is not None and self.store.of_token(connection, plan.token):
                return None
            latest = self.store.latest(connection, plan.name)
            if (latest and latest.version) != (draft.parent and draft.parent.version):
                return None
            number = self.store.last_number(connection, plan.name) + 1
            version = _version(draft, number, (table, table_version), now, report)
            self.store.insert(connection, version, draft.profile)
            if plan.token is not None:
                self.store.note_token(connection, plan.token, plan.name, version.version)
            if version.status == "accepted" and self._sets_expectations(draft):
                self.store.set_expectations(connection, plan.name, draft.expectations)
            if report is not None:
                report = msgspec.structs.replace(report, version=version.version)
                self.store.insert_report(connection, report)
            emit(connection, _created(version))
            if report is not None:
                emit(connection, _checked(report))
        return version

    def _sets_expectations(self, draft: _Draft) -> bool:
        return draft.plan.expectations is not None or self._expectations(draft.plan.name) is None

    def _quarantine(self, draft: _Draft) -> DatasetVersion | None:
        """Keep the rows aside and raise QualityFailed; the same rows again are not kept twice."""
        parent = draft.parent.version if draft.parent else 0
        with self.database.read() as connection:
            known = self.store.quarantined_like(connection, draft.plan.name, draft.content, parent)
        report = self._report(draft)
        if known is not None:
            if draft.plan.token is not None:
                with self.database.begin() as connection:
                    self.store.note_token(connection, draft.plan.token, known.dataset, known.version)
            raise _refusal(known, msgspec.structs.replace(report, id=known.report or report.id, version=known.version))
        table = f"quarantine/{draft.plan.name}"
        table_version = self.tables.overwrite(table, _numbered(draft.whole, 0))
        version = self._record(draft, table, table_version, report)
        if version is None:
            return None
        raise _refusal(version, report)


def _numbered(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    return frame.with_row_index(ROW).with_columns(pl.col(ROW).cast(pl.Int64) + first)


def _version(
    draft: _Draft, number: int, place: tuple[str, int], now: datetime, report: QualityReport | None
) -> DatasetVersion:
    return DatasetVersion(
        dataset=draft.plan.name,
        version=number,
        status="quarantined" if draft.failed else "accepted",
        mode=draft.plan.mode,
        parent=draft.parent.version if draft.parent else None,
        rows=draft.whole.height,
        columns=columns_of(draft.whole),
        content=draft.content,
        table=place[0],
        table_version=place[1],
        created=now,
        source=draft.plan.source,
        key=draft.key,
        time_column=draft.time_column,
        expectations=draft.expectations,
        report=report.id if report else None,
        imported=draft.imported,
    )


def _created(version: DatasetVersion) -> DatasetVersionCreated:
    facts = {
        "dataset": version.dataset,
        "version": version.version,
        "rows": version.rows,
        "content": version.content,
        "mode": version.mode,
        "parent": version.parent,
        "source": version.source,
    }
    if version.status == "quarantined":
        return msgspec.convert({**facts, "report": version.report or ""}, DatasetVersionQuarantined)
    return msgspec.convert(facts, DatasetVersionCreated)


def _checked(report: QualityReport) -> QualityChecked:
    return QualityChecked(
        dataset=report.dataset,
        version=report.version,
        report=report.id,
        passed=report.passed,
        failed=[str(check) for check in report.failed],
    )


def _refusal(version: DatasetVersion, report: QualityReport) -> QualityFailed:
    failed = report.failed
    return QualityFailed(
        f"{version.ref} failed {len(failed)} of {len(report.checks)} checks and is quarantined: "
        f"{'; '.join(map(str, failed[:5]))}{'; ...' if len(failed) > 5 else ''}; repair the data, "
        "change the expectations, or import with --no-check (in Python check=False)",
        dataset=version.ref,
        report=report.id,
        **describe_failures(failed),
    )
