"""What a hub says of a model: its commit, its files with their digests, its licence."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})?")


class HubRef(msgspec.Struct, frozen=True):
    """A model of a hub: ``org/name``, and a branch, a tag or a commit of it."""

    repository: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> HubRef:
        """Read ``hf:org/name@revision`` (or without ``hf:`` and without revision); raises InvalidRequest."""
        repository, _, revision = text.removeprefix("hf:").partition("@")
        if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
            raise InvalidRequest(f"{text!r} names no model of a hub: expected hf:ORG/NAME or hf:ORG/NAME@REVISION")
        if "@" in text and not revision.strip():
            raise InvalidRequest(f"{text!r}: after @ comes a branch, a tag or a commit")
        return cls(repository, revision or "main")

    @property
    def folder(self) -> str:
        """Give the name of the model's folder in the hub's cache."""
        return f"models--{self.repository.replace('/', '--')}"


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a model: ``etag`` is the SHA-256 of a large one, and of a small one the id of its Git blob."""

    path: str
    size: int | None
    etag: str | None


class HubSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a commit, with its files."""

    repository: str
    revision: str
    commit: str
    files: list[HubFile]
    licence: str | None = None
    facts: dict[str, Any] = {}

    @property
    def origin(self) -> str:
        """Give where the model comes from, exactly: ``hf:org/name@commit``."""
        return f"hf:{self.repository}@{self.commit}"
