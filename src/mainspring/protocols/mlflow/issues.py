"""``issues/...``: MLflow's issues over ours."""

from __future__ import annotations

from typing import get_args

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.calls import CallList, Services
from mainspring.protocols.mlflow.entities import milliseconds
from mainspring.protocols.mlflow.traces import require_experiment
from mainspring.traces.issues.model import Issue, IssueSeverity, IssueStatus

calls = CallList("/3.0/mlflow")


class IssueWire(msgspec.Struct, frozen=True):
    """An issue on the wire."""

    issue_id: str
    experiment_id: str
    name: str
    description: str
    status: str
    created_timestamp: int
    last_updated_timestamp: int
    root_causes: list[str]
    categories: list[str]
    severity: str | UnsetType = UNSET
    source_run_id: str | UnsetType = UNSET
    created_by: str | UnsetType = UNSET
    trace_count: int | UnsetType = UNSET


class IssueAnswer(msgspec.Struct, frozen=True):
    """One issue."""

    issue: IssueWire


class Create(msgspec.Struct):
    """A new issue."""

    experiment_id: str
    name: str
    description: str
    status: str | None = None
    severity: str | None = None
    root_causes: list[str] = []
    categories: list[str] = []
    source_run_id: str | None = None
    created_by: str | None = None


class ById(msgspec.Struct):
    """Which issue is meant."""

    issue_id: str


class Update(msgspec.Struct):
    """What changes of an issue."""

    issue_id: str
    name: str | None = None
    description: str | None = None
    status: str | None = None
    severity: str | None = None


class Search(msgspec.Struct):
    """Which issues are looked for."""

    experiment_id: str | None = None
    filter_string: str | None = None
    max_results: int | None = None
    page_token: str | None = None
    include_trace_count: bool = False


class IssuesAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of issues."""

    issues: list[IssueWire] = []
    next_page_token: str | None = None


@calls.on("POST", "issues")
def create(services: Services, ask: Create) -> IssueAnswer:
    """Open an issue."""
    require_experiment(services, ask.experiment_id)
    made = services.issues.open(
        ask.experiment_id,
        ask.name,
        ask.description,
        _status(ask.status) or "pending",
        _severity(ask.severity),
        ask.root_causes,
        ask.categories,
        ask.source_run_id or None,
        ask.created_by or None,
    )
    return IssueAnswer(_told(made))


@calls.on("POST", "issues/search")
def search(services: Services, ask: Search) -> IssuesAnswer:
    """Find issues."""
    page = services.issues.search(
        ask.experiment_id or None,
        ask.filter_string or "",
        ask.include_trace_count,
        100 if ask.max_results is None else ask.max_results,
        ask.page_token or None,
    )
    return IssuesAnswer([_told(issue) for issue in page.issues], page.next_page)


@calls.on("GET", "issues/{issue_id}")
def get(services: Services, ask: ById) -> IssueAnswer:
    """Get an issue."""
    return IssueAnswer(_told(services.issues.get(ask.issue_id)))


@calls.on("PATCH", "issues/{issue_id}")
def update(services: Services, ask: Update) -> IssueAnswer:
    """Change an issue."""
    changed = services.issues.change(
        ask.issue_id, ask.name or None, ask.description or None, _status(ask.status), _severity(ask.severity)
    )
    return IssueAnswer(_told(changed))


def _told(issue: Issue) -> IssueWire:
    return IssueWire(
        issue_id=issue.id,
        experiment_id=issue.experiment,
        name=issue.name,
        description=issue.description,
        status=issue.status,
        created_timestamp=milliseconds(issue.created),
        last_updated_timestamp=milliseconds(issue.updated),
        root_causes=issue.root_causes,
        categories=issue.categories,
        severity=issue.severity or UNSET,
        source_run_id=issue.run or UNSET,
        created_by=issue.created_by or UNSET,
        trace_count=UNSET if issue.traces is None else issue.traces,
    )


def _status(word: str | None) -> IssueStatus | None:
    known: dict[str, IssueStatus] = {name: name for name in get_args(IssueStatus)}
    if word is not None and word not in known:
        raise InvalidRequest(f"'{word}' is not a valid IssueStatus: expected {', '.join(known)}")
    return None if word is None else known[word]


def _severity(word: str | None) -> IssueSeverity | None:
    known: dict[str, IssueSeverity] = {name: name for name in get_args(IssueSeverity)}
    if word is not None and word not in known:
        raise InvalidRequest(f"'{word}' is not a valid IssueSeverity: expected {', '.join(known)}")
    return None if word is None else known[word]
