"""What happens around protected aliases."""

from __future__ import annotations

from mainspring.core.events import Event


class PolicyDefined(Event, frozen=True):
    """A policy has a new version."""

    policy: str

    def makes(self) -> list[str]:
        """Give the version of the policy."""
        return [self.policy]


class AliasProtected(Event, frozen=True):
    """An alias moves only as its policy and so many approvals allow, or freely again when both are gone."""

    alias: str
    gates: str | None
    approvals: int
    reason: str = ""

    def reads(self) -> list[str]:
        """Give the policy, where it is pinned."""
        return [self.gates] if self.gates is not None and "@" in self.gates else []

    def makes(self) -> list[str]:
        """Give the alias."""
        return [self.alias]


class PromotionRequested(Event, frozen=True):
    """Somebody wants a version under a protected alias; it waits for approvals."""

    request: str
    model: str
    alias: str
    missing: list[str]

    def reads(self) -> list[str]:
        """Give the version."""
        return [self.model]

    def makes(self) -> list[str]:
        """Give the request."""
        return [self.request]


class PromotionJudged(Event, frozen=True):
    """Somebody approved of a request, or rejected it."""

    request: str
    model: str
    alias: str
    approved: bool
    comment: str

    def reads(self) -> list[str]:
        """Give the request."""
        return [self.request]

    def makes(self) -> list[str]:
        """Give the version that it is about."""
        return [self.model]


class CheckRecorded(Event, frozen=True):
    """A suite outside of the registry judged a version."""

    model: str
    suite: str
    passed: bool
    detail: str

    def makes(self) -> list[str]:
        """Give the version."""
        return [self.model]
