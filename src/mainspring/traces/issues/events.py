"""What happened to issues."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref
from mainspring.traces.issues.model import IssueSeverity, IssueStatus


class IssueOpened(Event, frozen=True, kw_only=True):
    """A problem was found and named."""

    issue: str
    experiment: str
    name: str
    run: str | None = None

    def reads(self) -> list[str]:
        """Name the run that found it."""
        return [] if self.run is None else [ref("run", self.run)]

    def makes(self) -> list[str]:
        """Name the issue."""
        return [ref("issue", self.issue)]


class IssueChanged(Event, frozen=True, kw_only=True):
    """An issue has another name, description, status or severity."""

    issue: str
    status: IssueStatus
    severity: IssueSeverity | None

    def makes(self) -> list[str]:
        """Name the issue."""
        return [ref("issue", self.issue)]
