"""The verbs of issues: name a problem, say how bad it is and what became of it, find it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest
from mainspring.core.filters import parse_filter
from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.traces.issues import store
from mainspring.traces.issues.events import IssueChanged, IssueOpened
from mainspring.traces.issues.model import (
    MAX_DESCRIPTION_CHARS,
    MAX_NAME_CHARS,
    MAX_PAGE,
    Issue,
    IssuePage,
    IssueSeverity,
    IssueStatus,
)
from mainspring.traces.limits import storable

Words = list[str]


class Issues:
    """The issues of every experiment, kept in *database*.

    *known_experiment* is called with the id of an experiment that an issue is opened in, and raises NotFound when there
    is none.
    """

    def __init__(
        self, database: Database, known_experiment: Callable[[str], object], clock: Clock | None = None
    ) -> None:
        self.database, self.clock = database, clock or SystemClock()
        self._known_experiment = known_experiment

    @operation("POST /issues")
    def open(
        self,
        experiment: str,
        name: str,
        description: str,
        status: IssueStatus = "pending",
        severity: IssueSeverity | None = None,
        root_causes: Words | None = None,
        categories: Words | None = None,
        run: str | None = None,
        created_by: str | None = None,
    ) -> Issue:
        """Open an issue in an experiment, which is named by its id; raises NotFound for an unknown experiment."""
        self._known_experiment(experiment)
        now = self._now()
        issue = Issue(
            id=f"iss-{uuid4().hex}",
            experiment=experiment,
            name=_checked(name, "name", MAX_NAME_CHARS),
            description=_checked(description, "description", MAX_DESCRIPTION_CHARS),
            status=status,
            severity=severity,
            root_causes=[storable(cause) for cause in root_causes or []],
            categories=[storable(category) for category in categories or []],
            run=storable(run),
            created=now,
            updated=now,
            created_by=storable(created_by),
        )
        with self.database.begin() as connection:
            store.insert_issue(connection, issue)
            emit(connection, IssueOpened(issue=issue.id, experiment=experiment, name=issue.name, run=issue.run))
        return issue

    @operation("GET /issues/{issue}")
    def get(self, issue: str) -> Issue:
        """Show an issue by its id; raises NotFound."""
        with self.database.read() as connection:
            return store.require(connection, issue)

    @operation("PATCH /issues/{issue}")
    def change(
        self,
        issue: str,
        name: str | None = None,
        description: str | None = None,
        status: IssueStatus | None = None,
        severity: IssueSeverity | None = None,
    ) -> Issue:
        """Change what is given of an issue; raises NotFound."""
        given = {
            "name": None if name is None else _checked(name, "name", MAX_NAME_CHARS),
            "description": None if description is None else _checked(description, "description", MAX_DESCRIPTION_CHARS),
            "status": status,
            "severity": severity,
        }
        changed = {column: value for column, value in given.items() if value is not None}
        with self.database.begin() as connection:
            store.require(connection, issue, locked=True)
            store.change(connection, issue, **changed, updated=self._now())
            after = store.require(connection, issue)
            emit(connection, IssueChanged(issue=issue, status=after.status, severity=after.severity))
            return after

    @operation("GET /issues")
    def search(
        self,
        experiment: str | None = None,
        where: str = "",
        count_traces: bool = False,
        limit: int = 100,
        page: str | None = None,
    ) -> IssuePage:
        """Find issues, the worst first and of those the newest: ``status = 'pending' AND severity = 'high'``.

        *count_traces* counts the traces that show each, and sorts by that too. Raises InvalidRequest for a filter that
        cannot be read.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"Invalid value {limit} for the most results of a page: expected 1 to {MAX_PAGE}")
        if page and not (page.isascii() and page.isdigit() and len(page) < 18):
            raise InvalidRequest(f"Invalid page token {page[:80]!r}: hand back the token as it was given")
        if experiment is not None and not experiment.isprintable():
            return IssuePage([])
        wanted, offset = parse_filter(where, {}), int(page or 0)
        with self.database.read() as connection:
            found = store.search(connection, experiment, wanted, counted=count_traces, limit=limit + 1, offset=offset)
        return IssuePage(found[:limit], str(offset + limit) if len(found) > limit else None)

    def _now(self) -> datetime:
        now = self.clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _checked(text: str, what: str, most: int) -> str:
    if not text or len(text) > most:
        raise InvalidRequest(f"the {what} of an issue has {len(text)} characters, expected 1 to {most}")
    return storable(text)
