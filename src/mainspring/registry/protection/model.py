"""What protects an alias: policies by name and version, who has to agree, and the requests that wait for it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from mainspring.registry.gate_model import GatePolicy

RequestStatus = Literal["pending", "done", "rejected"]


class PolicyContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version has to show before a protected alias points to it.

    ``measured`` are the gates that are measured on rows (None: none): the report has to be of this policy and against
    the version that the alias points to. With ``holdout`` (a dataset ref; without a version its latest) and ``target``
    they are measured by themselves when somebody promotes. The others are looked at when the alias moves: a card, an
    owner and a licence (tags ``owner`` and ``license`` of the version or the model, or the card's front matter), a
    signature, a scan without warnings, training data that passed its expectations, and for each name in ``safety`` a
    check that was recorded as passed.
    """

    measured: GatePolicy | None = GatePolicy()
    holdout: str | None = None
    target: str | None = None
    card: bool = False
    owner: bool = False
    licence: bool = False
    signature: bool = False
    clean_scan: bool = False
    training_data: bool = False
    safety: list[str] = []


class NamedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a policy; versions never change."""

    name: str
    version: int
    content: PolicyContent
    at: datetime
    actor: str

    @property
    def ref(self) -> str:
        """Give ``gate_policy:name@version``."""
        return f"gate_policy:{self.name}@{self.version}"


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """An alias of a model that moves only as its policy and so many approvals allow.

    ``gates`` is the ref of a policy: with a version that one, without the latest there is.
    """

    name: str
    alias: str
    gates: str | None
    approvals: int
    at: datetime
    actor: str


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said to a request."""

    actor: str
    approved: bool
    at: datetime
    comment: str = ""


class PromotionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """That *version* shall be under a protected alias, asked for by *actor*: pending until nothing is missing."""

    id: str
    name: str
    version: int
    alias: str
    promotes: bool
    status: RequestStatus
    actor: str
    at: datetime
    reason: str = ""
    votes: list[Vote] = []

    @property
    def ref(self) -> str:
        """Give ``promotion:id``."""
        return f"promotion:{self.id}"


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a protected alias asks for, whether it is there, and the command that brings it."""

    name: str
    met: bool
    detail: str
    command: str = ""


class RecordedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a suite outside of the registry, such as one for safety, found for a version."""

    suite: str
    passed: bool
    detail: str
    value: float | None
    at: datetime
    actor: str
