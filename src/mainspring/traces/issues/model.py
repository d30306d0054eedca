"""What is kept of an issue."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

MAX_NAME_CHARS = 250
MAX_DESCRIPTION_CHARS = 100_000
MAX_PAGE = 1000

IssueStatus = Literal["pending", "rejected", "resolved"]
IssueSeverity = Literal["not_an_issue", "low", "medium", "high"]


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """A problem of an application in an experiment. A trace shows it by an assessment of kind ``issue`` with its id.

    ``run`` is the id of the run that found it; ``traces`` counts those that show it, where that was asked for.
    """

    id: str
    experiment: str
    name: str
    description: str
    status: IssueStatus = "pending"
    severity: IssueSeverity | None = None
    root_causes: list[str] = []
    categories: list[str] = []
    run: str | None = None
    created: datetime
    updated: datetime
    created_by: str | None = None
    traces: int | None = None


class IssuePage(msgspec.Struct, frozen=True):
    """Some issues, and the token of the next page if there is one."""

    issues: list[Issue]
    next_page: str | None = None
