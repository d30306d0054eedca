"""What a call is about, told by each protocol for its own calls: what must be allowed, and what of it may be seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from mainspring.access.model import User, Wanted
from mainspring.access.service import Access
from mainspring.core.errors import MainspringError


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request: its path decoded, its headers by names in lower case, its body read as JSON where it is one."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any = None


class Rulebook(Protocol):
    """What one protocol knows of its calls."""

    def serves(self, path: str) -> bool:
        """Tell whether a path is the protocol's."""
        ...

    def is_open(self, asked: Asked) -> bool:
        """Tell whether anybody may make the call, without a login."""
        ...

    def reads_body(self, asked: Asked) -> bool:
        """Tell whether the body, which is then JSON, says what the call is about."""
        ...

    def wanted(self, asked: Asked) -> Wanted:
        """Tell what must be allowed; raises NotFound for what the call is about."""
        ...

    def needs_answer(self, asked: Asked) -> bool:
        """Tell whether `settled` is to be called with what was answered."""
        ...

    def settled(self, asked: Asked, answer: Any, user: User, access: Access) -> Any:
        """Note what was made, renamed or deleted, and give what of a successful answer may be seen."""
        ...

    def refused(self, error: MainspringError) -> tuple[int, bytes]:
        """Give the status and the JSON body that stand for an error."""
        ...
