"""What scans say, for the audit log and whoever subscribes."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.registry.scanning.model import Verdict


class ModelScanned(Event, frozen=True):
    """The files of a version were looked through; ``dangers`` were let pass because the version is trusted."""

    model: str
    verdict: Verdict
    pickles: int
    dangers: list[str]
    allowed: list[str]

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]


class RegistrationRefused(Event, frozen=True):
    """No version was made of files that would run commands or code when they are loaded."""

    model: str
    tree: str
    dangers: list[str]

    def makes(self) -> list[str]:
        """Give the model that got no version."""
        return [self.model]


class FileAllowed(Event, frozen=True):
    """A file may be registered from now on, whatever a scan finds in it."""

    digest: str
    reason: str


class FileDisallowed(Event, frozen=True):
    """A file is judged by its scan again."""

    digest: str
    reason: str
