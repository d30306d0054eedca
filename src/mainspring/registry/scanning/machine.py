"""A pickle followed on a stack of symbols: what it imports, calls and sets, none of which is ever done.

Where a real unpickler gives up for want of something on its stack this one goes on, so that nothing hides behind an
error that another implementation does not make.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from mainspring.registry.scanning.model import Level
from mainspring.registry.scanning.names import is_name, judge
from mainspring.registry.scanning.symbols import MARK, MAX_TEXT, UNKNOWN, Broken, Global, Made, Source, dtype_bytes

_MAX_MEMO = 4_000_000
_MAX_READ = 16 << 20
_MAX_NESTED = 1_000
_MAX_GLOBALS = 2_000
_IMPORTERS = frozenset(("subimport", "dynamic_subimport", "_import_module"))
_KEEPS = "cloudpickle.cloudpickle._make_cell"
"""What only keeps its argument, for a function that refers to it."""
_NESTED = re.compile(rb"\x80[\x02-\x05]")


class Follow(Protocol):
    """Follows the pickle that begins at a place."""

    def __call__(self, source: Source, *, joblib: bool, opcodes_left: int) -> Machine: ...


class Machine:
    """Follows one pickle. *joblib*: raw arrays stand between the opcodes where joblib puts them."""

    def __init__(self, source: Source, follow: Follow, *, joblib: bool, opcodes_left: int) -> None:
        """Begin at *source*; *follow* is called for a pickle that stands within this one."""
        self.source, self.joblib, self.left, self._follow = source, joblib, opcodes_left, follow
        self.opcodes: Counter[str] = Counter()
        self.globals: dict[str, Global] = {}
        self.called: set[str] = set()
        self.handed: set[str] = set()
        """The names that are arguments of calls, which may call them."""
        self.takes_any_attribute = False
        """Whether an attribute is taken of which it is not known what it is of."""
        self.notes: dict[str, Level] = {}
        """What is odd, with the level that it has."""
        self.nested: list[tuple[int, int] | bytes] = []
        """The pickles that are data of this one: where they lie, or their bytes where these are written as text."""
        self.arrays = 0
        self.broken: str | None = None
        self.has_header = self.stopped = False
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    @property
    def is_sound(self) -> bool:
        """Tell whether these bytes were surely meant as a pickle."""
        return (self.has_header and len(self.opcodes) > 2) or (self.stopped and "odd" not in self.notes)

    # Stack

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take the top of the stack; what was not there is unknown."""
        if not self._stack:
            self.notes.setdefault("odd", "safe")
            return UNKNOWN
        value = self._stack.pop()
        return UNKNOWN if value is MARK else value

    def pop_to_mark(self) -> list[Any]:
        """Take everything down to the last mark."""
        stack = self._stack
        for at in range(len(stack) - 1, -1, -1):
            if stack[at] is MARK:
                found = stack[at + 1 :]
                del stack[at:]
                return found
        self.notes.setdefault("odd", "safe")
        found = stack[:]
        stack.clear()
        return found

    def top(self) -> Any:
        """Give the top of the stack."""
        return self._stack[-1] if self._stack and self._stack[-1] is not MARK else UNKNOWN

    def mark(self) -> None:
        """Put a mark on the stack."""
        self._stack.append(MARK)

    # What opcodes mean

    def keep(self, key: int) -> None:
        """Remember the top of the stack."""
        if len(self._memo) >= _MAX_MEMO:
            raise Broken("it remembers too many things to be looked through")
        self._memo[key] = self.top()

    def memoize(self) -> None:
        """Remember the top under the next number."""
        self.keep(len(self._memo))

    def recall(self, key: int) -> None:
        """Put what was remembered on the stack."""
        if key not in self._memo:
            self.notes.setdefault("odd", "safe")
        self.push(self._memo.get(key, UNKNOWN))

    def bring(self, module: Any, name: Any) -> None:
        """Import a name, whose parts may be known or computed."""
        if not isinstance(module, str) or not isinstance(name, str):
            self.notes["imports a name that is put together while it is loaded"] = "dangerous"
            self.push(UNKNOWN)
            return
        found = Global(module, name)
        if is_name(module, name):
            if len(self.globals) < _MAX_GLOBALS or judge(module, name)[0] == "dangerous":
                self.globals.setdefault(found.dotted, found)
        else:
            self.notes.setdefault("odd", "safe")
        self.push(found)

    def call(self, function: Any, arguments: Any) -> None:
        """Call *function*, or make an instance of it."""
        given = arguments if isinstance(arguments, list) else []
        if not (isinstance(function, Global) and function.dotted == _KEEPS):
            self.handed.update(one.dotted for one in given if isinstance(one, Global))
        if isinstance(function, Global):
            self.called.add(function.dotted)
            if function.name in _IMPORTERS and given and isinstance(given[0], str) and is_name(given[0], "x"):
                self.notes[f"its code uses the module {given[0]}"] = "code"
            if function.name == "getattr":
                self._take_attribute(given)
                return
        self.push(Made(function, arguments))

    def _take_attribute(self, given: list[Any]) -> None:
        owner, name = given if len(given) == 2 else (UNKNOWN, UNKNOWN)
        if isinstance(owner, Global) and isinstance(name, str):
            self.bring(owner.module, f"{owner.name}.{name}")
            return
        if not isinstance(owner, Made) or not isinstance(name, str) or name.startswith("_"):
            self.takes_any_attribute = True
        self.push(UNKNOWN)

    def build(self) -> None:
        """Put state into the top of the stack."""
        state, target = self.pop(), self.top()
        if isinstance(target, Global) and is_name(target.module, target.name):
            self.notes[f"sets attributes of {target.dotted} itself"] = "dangerous"
        if not isinstance(target, Made):
            return
        target.state = state
        if self.joblib and isinstance(target.maker, Global) and target.maker.name == "NumpyArrayWrapper":
            self.arrays += 1
            self._pass_array(state)

    def text(self, data: bytes, decode: Callable[[bytes], str]) -> None:
        """Push a text."""
        try:
            found = decode(data)
        except ValueError:
            found = ""
        if found[:1] == "\x80" and len(self.nested) < _MAX_NESTED:
            # Before protocol 3 bytes are written as the text of the same numbers.
            self.nested.append(found.encode("latin-1", "replace"))
        self.push(found if found and len(data) <= MAX_TEXT else UNKNOWN)

    def long_text(self, count: int) -> None:
        """Push a text of *count* bytes in UTF-8."""
        if count <= _MAX_READ:
            self.text(self.source.read(count), lambda data: data.decode("utf-8", "surrogatepass"))
            return
        self.source.skip(count)
        self.push(UNKNOWN)

    def data(self, count: int) -> None:
        """Push *count* bytes, which may hold another pickle."""
        if count <= MAX_TEXT:
            start = self.source.at
            value = self.source.read(count)
            self._note_nested(value[:2], start, count)
            # Texts of Python 2 are bytes, and names are written as such there.
            self.text(value, lambda data: data.decode("ascii"))
            return
        self._pass_bytes(count)
        self.push(UNKNOWN)

    def _pass_bytes(self, count: int) -> None:
        start = self.source.at
        if count >= 2 and start + 2 <= self.source.end:
            self._note_nested(self.source.read(2), start, count)
            self.source.skip(count - 2)
        else:
            self.source.skip(count)

    def _note_nested(self, head: bytes, start: int, count: int) -> None:
        if _NESTED.match(head) and len(self.nested) < _MAX_NESTED:
            self.nested.append((start, start + count))

    def _pass_array(self, state: Any) -> None:
        said = state if isinstance(state, dict) else {}
        size = dtype_bytes(said.get("dtype"))
        if size is None:
            self._follow_objects()
            return
        shape = said.get("shape")
        if not isinstance(shape, list) or not all(isinstance(length, int) for length in shape):
            raise Broken("an array of joblib's does not say its shape")
        count = size
        for length in shape:
            count *= max(0, length)
        if said.get("numpy_array_alignment_bytes") is not None:
            self.source.skip(self.source.read(1)[0])
        self.source.skip(count)

    def _follow_objects(self) -> None:
        """Follow the pickle that stands for an array of objects; the one around it goes on behind it."""
        inner = self._follow(self.source, joblib=False, opcodes_left=self.left)
        self.left = inner.left
        self.opcodes += inner.opcodes
        self.globals.update(inner.globals)
        self.called |= inner.called
        self.handed |= inner.handed
        self.takes_any_attribute |= inner.takes_any_attribute
        self.notes.update(inner.notes)
        self.nested += inner.nested
        if inner.broken is not None:
            raise Broken("an array of objects of joblib's cannot be followed")
