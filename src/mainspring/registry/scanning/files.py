"""The files of a model looked through: whatever its name, a file that could be loaded as a pickle is read as one."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from mainspring.registry.scanning.containers import TooMuch, Unpacking
from mainspring.registry.scanning.machine import Machine
from mainspring.registry.scanning.model import Finding, GlobalUse, Level, PickleScan, ScanReport
from mainspring.registry.scanning.names import OF_PYTHON, is_name, judge
from mainspring.registry.scanning.opcodes import MAX_OPCODES, follow
from mainspring.registry.scanning.symbols import Global, Source
from mainspring.storage.objects.digests import digest_of_file
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import tree_entries

_MAX_DEPTH = 6
_MAX_PICKLES, _MAX_FINDINGS, _MAX_NAMES, _MAX_STREAMS = 200, 300, 200, 10_000
_ENDINGS = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill", ".p", ".sav", ".npy", ".npz")
_ORDER: dict[Level, int] = {"dangerous": 0, "unknown": 1, "code": 2, "safe": 3}


class _Looked(msgspec.Struct):
    """What was found so far in one model."""

    pickles: list[PickleScan] = []
    findings: list[Finding] = []


class _FileScan:
    """Looks through one file and all that is packed in it."""

    def __init__(self, digest: str, found: _Looked) -> None:
        self._digest, self._found = digest, found
        self._unpacking, self._opcodes_left = Unpacking(), MAX_OPCODES

    def look(self, file: BinaryIO, size: int, where: str, depth: int = 0) -> None:
        """Look at a file as an archive, as compressed, as an array and as pickles: it may be several of them."""
        if depth > _MAX_DEPTH:
            self._say(where, "dangerous", "is packed too deep to be looked through")
            return
        try:
            for part in self._unpacking.parts(file, size):
                inner = f"{where} > {part.name}" if part.name else where
                if part.file is None:
                    self._say(inner, "unknown", part.problem)
                    continue
                with part.file as opened:
                    self.look(cast(BinaryIO, opened), part.size, inner, depth + 1)
        except TooMuch as error:
            self._say(where, "dangerous", str(error))
        self._pickles(file, size, where, depth)

    def _pickles(self, file: BinaryIO, size: int, where: str, depth: int) -> None:
        at = 0
        for number in range(_MAX_STREAMS):
            machine = self._follow(file, at, size, f"{where} (at byte {at})" if number else where, depth)
            if not machine.stopped or machine.source.at >= size:
                return
            at = machine.source.at
        self._say(where, "dangerous", f"has more than {_MAX_STREAMS} pickles one after the other")

    def _follow(self, file: BinaryIO, at: int, size: int, where: str, depth: int) -> Machine:
        machine = follow(Source(file, at, size), opcodes_left=self._opcodes_left)
        self._opcodes_left = machine.left
        self._tell(machine, where)
        for nested in machine.nested if depth < _MAX_DEPTH and machine.is_sound else []:
            inner = file if isinstance(nested, tuple) else cast(BinaryIO, io.BytesIO(nested))
            start, end = nested if isinstance(nested, tuple) else (0, len(nested))
            self._follow(inner, start, end, f"{where} > pickle in its data", depth + 1)
        if machine.arrays:
            # Loaded without joblib the opcodes go on where joblib has an array.
            plain = follow(Source(file, at, size), joblib=False, opcodes_left=self._opcodes_left)
            self._opcodes_left = plain.left
            for use in _uses(plain):
                if use.level == "dangerous" and use.name not in machine.globals:
                    self._say(f"{where} (read without joblib)", use.level, f"imports {use.name}, which {use.why}")
        return machine

    def _tell(self, machine: Machine, where: str) -> None:
        uses = sorted(_uses(machine), key=lambda use: (_ORDER[use.level], use.name))
        if machine.is_sound:
            scan = PickleScan(where=where, opcodes=dict(machine.opcodes.most_common()), globals=uses[:_MAX_NAMES])
            self._found.pickles.append(scan)
        for use in uses:
            if use.level != "safe":
                self._say(where, use.level, f"{'calls' if use.called else 'imports'} {use.name}, which {use.why}")
        for what, level in machine.notes.items():
            if level != "safe" and machine.is_sound:
                self._say(where, level, what)
        if machine.broken and machine.has_header and (machine.globals or where.lower().endswith(_ENDINGS)):
            self._say(where, "dangerous", f"begins as a pickle and cannot be followed to its end: {machine.broken}")

    def _say(self, where: str, level: Level, what: str) -> None:
        finding = Finding(where=where, level=level, what=what, digest=self._digest)
        if finding not in self._found.findings:
            self._found.findings.append(finding)


def _uses(machine: Machine) -> Iterator[GlobalUse]:
    judged = {dotted: judge(found.module, found.name) for dotted, found in machine.globals.items()}
    brings_code = any(level == "code" and dotted in machine.called for dotted, (level, _) in judged.items())
    for dotted, found in machine.globals.items():
        level, why = judged[dotted]
        called = dotted in machine.called
        if brings_code and why == OF_PYTHON and not called and dotted not in machine.handed:
            # What a function that is carried by value refers to: to load it runs none of that.
            level, why = "code", "is used by code that the pickle brings along"
        if brings_code and dotted == "builtins.getattr" and not machine.takes_any_attribute:
            level, why = "code", "takes attributes that are known"
        if machine.is_sound or (level == "dangerous" and called and _is_meant(found)):
            yield GlobalUse(name=dotted, level=level, why=why, called=called)


def _is_meant(found: Global) -> bool:
    return is_name(found.module, found.name)


def scan_tree(objects: ObjectStore, tree: str, allowed: Iterable[str] = ()) -> ScanReport:
    """Look through every file of a tree; raises what reading the store raises."""
    entries, found = tree_entries(objects, tree), _Looked()
    for entry in entries:
        with objects.open_object(entry.digest) as file:
            _FileScan(entry.digest, found).look(file, entry.size, entry.path)
    mine = {entry.digest for entry in entries}
    return _report(tree, len(entries), sum(entry.size for entry in entries), found, mine.intersection(allowed))


def scan_object(objects: ObjectStore, digest: str, name: str, allowed: Iterable[str] = ()) -> ScanReport:
    """Look through one file of the store."""
    found, size = _Looked(), objects.size(digest)
    with objects.open_object(digest) as file:
        _FileScan(digest, found).look(file, size, name)
    return _report(digest, 1, size, found, {digest}.intersection(allowed))


def scan_path(path: Path) -> ScanReport:
    """Look through a file or a folder of this machine; nothing is kept of it."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    found, size = _Looked(), 0
    for file in files:
        with file.open("rb") as opened:
            count = file.stat().st_size
            where = file.relative_to(path).as_posix() if path.is_dir() else file.name
            _FileScan(digest_of_file(file), found).look(opened, count, where)
            size += count
    return _report(str(path), len(files), size, found, ())


def _report(tree: str, files: int, size: int, found: _Looked, allowed: Iterable[str]) -> ScanReport:
    findings = sorted(found.findings, key=lambda one: _ORDER[one.level])
    omitted = max(0, len(findings) - _MAX_FINDINGS) + max(0, len(found.pickles) - _MAX_PICKLES)
    return ScanReport(
        tree=tree,
        files=files,
        size_bytes=size,
        pickles=found.pickles[:_MAX_PICKLES],
        findings=findings[:_MAX_FINDINGS],
        allowed=sorted(allowed),
        omitted=omitted,
    )
