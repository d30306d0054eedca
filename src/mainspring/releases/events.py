"""What can happen to endpoints and releases."""

from __future__ import annotations

from mainspring.core.events import Event


class EndpointCreated(Event, frozen=True, kw_only=True):
    """An endpoint got its name."""

    endpoint: str

    def makes(self) -> list[str]:
        """Give the endpoint."""
        return [self.endpoint]


class ReleaseCreated(Event, frozen=True, kw_only=True):
    """Versions were pinned together."""

    release: str
    model: str
    dataset: str | None
    features: str | None

    def reads(self) -> list[str]:
        """Give everything that was pinned."""
        return [pinned for pinned in (self.model, self.dataset, self.features) if pinned is not None]

    def makes(self) -> list[str]:
        """Give the release."""
        return [self.release]


class _Served(Event, frozen=True, kw_only=True):
    """A release began to answer at an endpoint, or answers more than before."""

    endpoint: str
    release: str
    model: str

    def reads(self) -> list[str]:
        """Give the release."""
        return [self.release]

    def makes(self) -> list[str]:
        """Give the endpoint."""
        return [self.endpoint]


class ReleaseDeployed(_Served, frozen=True, kw_only=True):
    """A release took all traffic, without a canary."""

    replaced: str | None


class CanaryStarted(_Served, frozen=True, kw_only=True):
    """A release began to take a share of the traffic."""

    share: float


class CanaryGrown(_Served, frozen=True, kw_only=True):
    """A canary takes a larger share."""

    share: float
    before: float
    reason: str


class CanaryPromoted(_Served, frozen=True, kw_only=True):
    """A canary took all traffic."""

    replaced: str
    reason: str


class CanaryDropped(Event, frozen=True, kw_only=True):
    """A canary takes no traffic any more; the stable release has it all."""

    endpoint: str
    release: str
    model: str
    stable: str
    reason: str

    def makes(self) -> list[str]:
        """Give the endpoint."""
        return [self.endpoint]


class ReleaseRolledBack(_Served, frozen=True, kw_only=True):
    """An earlier release took all traffic again; ``replaced`` is the one that failed."""

    replaced: str
    reason: str
