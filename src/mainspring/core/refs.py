"""A ref names anything that can change production: ``kind:name@version`` or ``kind:name@alias``."""

from __future__ import annotations

import re

import msgspec

from mainspring.core.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KIND = re.compile(r"[a-z][a-z_]{0,31}")
_VERSION = re.compile(r"0{0,9}[1-9][0-9]{0,17}")  # what 64 bits hold
_ALIAS = re.compile(r"(?![0-9]+$)[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
# Models and prompts come with the names that their authors gave them elsewhere: "Sales, south (v2)" is one.
_FREE_NAME = re.compile(r"(?!\.{1,2}$)[^\s/:@\x00-\x1f\x7f]([^/:@\x00-\x1f\x7f]{0,248}[^\s/:@\x00-\x1f\x7f])?")
# An experiment lies in folders: "team/project/churn".
_PATH = re.compile(rf"{_NAME.pattern}(/{_NAME.pattern}){{0,15}}")
_KINDS = {"model": _FREE_NAME, "experiment": _PATH}
_MAX_PATH_CHARS = 500
_WHAT = "expected kind:name, kind:name@7 or kind:name@alias, such as model:churn@champion"


class Ref(msgspec.Struct, frozen=True):
    """A name, and at most one of an immutable version or a movable alias of it."""

    kind: str
    name: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str, *, kind: str | None = None) -> Ref:
        """Read a ref; *kind* is what it must be, and may then be left out of the text.

        Raises InvalidRequest when the text is no ref or of another kind.
        """
        head, separator, rest = text.partition(":")
        if not separator:
            if kind is None:
                raise InvalidRequest(f"{text!r} is not a ref: {_WHAT}", ref=text)
            head, rest = kind, text
        if kind is not None and head != kind:
            raise InvalidRequest(f"{text!r} names a {head}, expected a {kind}", ref=text)
        name, at, tail = rest.partition("@")
        if not _KIND.fullmatch(head) or not _names(head).fullmatch(name):
            raise InvalidRequest(f"{text!r} is not a ref: {_WHAT}", ref=text)
        if not at:
            return cls(head, name)
        if _VERSION.fullmatch(tail):
            return cls(head, name, version=int(tail))
        if _ALIAS.fullmatch(tail):
            return cls(head, name, alias=tail)
        raise InvalidRequest(f"{text!r} is not a ref: after @ comes a version from 1 or an alias", ref=text)

    def at(self, version: int) -> Ref:
        """Give the same name at a version."""
        return Ref(self.kind, self.name, version=version)

    def __str__(self) -> str:
        tail = self.alias if self.version is None else str(self.version)
        return f"{self.kind}:{self.name}" if tail is None else f"{self.kind}:{self.name}@{tail}"


def ref(kind: str, name: str, version: int | None = None) -> str:
    """Give the text of a ref whose parts are known to be sound."""
    return f"{kind}:{name}" if version is None else f"{kind}:{name}@{version}"


def check_free_name(name: str, what: str) -> str:
    """Return *name*, or raise InvalidRequest when a *what* cannot have even this freely chosen name."""
    if not _FREE_NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} cannot be the name of a {what}: use 1 to 250 characters without '/', ':', '@' and line breaks, "
            "neither beginning nor ending with a blank",
            name=name,
        )
    return name


def check_name(name: str, what: str) -> str:
    """Return *name*, or raise InvalidRequest when it cannot be the name of a *what*."""
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} cannot be the name of a {what}: use 1 to 128 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit",
            name=name,
        )
    return name


def check_path_name(name: str, what: str) -> str:
    """Return *name*, or raise InvalidRequest when it cannot be the name of a *what* that may lie in folders."""
    if not _PATH.fullmatch(name) or len(name) > _MAX_PATH_CHARS:
        raise InvalidRequest(
            f"{name!r} cannot be the name of a {what}: use 1 to 128 letters, digits, '.', '_' or '-', beginning with a "
            f"letter or digit, behind up to 15 folders of such names and '/', {_MAX_PATH_CHARS} characters in all",
            name=name,
        )
    return name


def check_alias(alias: str) -> str:
    """Return *alias*, or raise InvalidRequest when it cannot be an alias (it must not look like a version)."""
    if not _ALIAS.fullmatch(alias):
        raise InvalidRequest(
            f"{alias!r} cannot be an alias: use 1 to 255 letters, digits, '.', '_' or '-', not beginning with '.' "
            "or '-' and not digits only, which would be a version",
            alias=alias,
        )
    return alias


def _names(kind: str) -> re.Pattern[str]:
    return _KINDS.get(kind, _NAME)
