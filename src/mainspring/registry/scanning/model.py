"""What a scan finds in the files of a model: pickles with their opcodes and globals, and what speaks against them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Level = Literal["safe", "code", "unknown", "dangerous"]
"""``code`` carries functions or classes by value, ``unknown`` is on no list; both are warned of and not refused."""
Verdict = Literal["clean", "warned", "dangerous"]

SCANNER = "1"
"""Grows whenever the same bytes may be judged otherwise."""


class GlobalUse(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a pickle imports: how it is judged and why, and whether the pickle calls it."""

    name: str
    level: Level
    why: str = ""
    called: bool = False


class PickleScan(msgspec.Struct, frozen=True, kw_only=True):
    """One pickle: where it lies (``model.pt > archive/data.pkl``), its opcodes counted by name, what it imports."""

    where: str
    opcodes: dict[str, int]
    globals: list[GlobalUse]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a file that is worth a warning or a refusal; *digest* is that of the whole file."""

    where: str
    level: Level
    what: str
    digest: str


class ScanReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the *files* of a model, *size_bytes* altogether; *allowed* files were looked at and let pass.

    ``findings`` names what is dangerous first. Lists are cut at some hundreds; ``omitted`` says how many are not told.
    """

    tree: str
    files: int
    size_bytes: int
    pickles: list[PickleScan] = []
    findings: list[Finding] = []
    allowed: list[str] = []
    omitted: int = 0
    scanner: str = SCANNER

    @property
    def verdict(self) -> Verdict:
        """Give the worst of what was found."""
        if self.dangers:
            return "dangerous"
        return "warned" if any(finding.level != "safe" for finding in self.findings) else "clean"

    @property
    def dangers(self) -> list[Finding]:
        """Give what speaks against loading the model, except for files that somebody allowed."""
        return [one for one in self.findings if one.level == "dangerous" and one.digest not in self.allowed]


class VersionScan(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a version: its verdict, when it was made and who asked for it."""

    model: str
    verdict: Verdict
    at: datetime
    actor: str
    report: ScanReport


class AllowedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file by its digest that may be registered whatever a scan finds in it: since when, by whom, and why."""

    digest: str
    reason: str
    at: datetime
    actor: str
