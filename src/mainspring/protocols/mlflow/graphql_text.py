"""GraphQL's queries read from their text, within the limits that MLflow's server sets for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest

MAX_DEPTH, MAX_SELECTIONS, MAX_ROOTS, MAX_ALIASES = 10, 1_000, 10, 10
_MAX_NESTING = 64
"""How deep braces and brackets may be nested: what reads them calls itself for each."""

_TOKEN = re.compile(
    r"""(?P<skipped>[\s,\ufeff]+|\#[^\r\n]*)
    |(?P<block>\"\"\"(?s:(?:\\\"\"\"|.)*?)\"\"\")
    |(?P<string>"(?:[^"\\\r\n]|\\.)*")
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[_A-Za-z][_0-9A-Za-z]*)
    |(?P<sign>\.\.\.|[!$&():=@\[\]{}|])""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}


class Variable(msgspec.Struct, frozen=True):
    """A value that comes beside the text."""

    name: str


class Field(msgspec.Struct, frozen=True):
    """What is asked for, as what, and what of it."""

    name: str
    alias: str
    arguments: dict[str, Any]
    selections: list[Selection]


class Spread(msgspec.Struct, frozen=True):
    """The place of a fragment that is written elsewhere."""

    fragment: str


class Inline(msgspec.Struct, frozen=True):
    """A fragment where it is written."""

    selections: list[Selection]


Selection = Field | Spread | Inline


class Operation(msgspec.Struct, frozen=True):
    """A query or a mutation, with what its variables are when they are not given."""

    kind: str
    name: str
    defaults: dict[str, Any]
    selections: list[Selection]


class Document(msgspec.Struct, frozen=True):
    """All operations and fragments of a text."""

    operations: list[Operation]
    fragments: dict[str, list[Selection]]

    def fields(self, selections: Sequence[Selection], seen: frozenset[str] = frozenset()) -> Iterator[Field]:
        """Give the fields of some selections, with those of their fragments in place."""
        for selection in selections:
            if isinstance(selection, Field):
                yield selection
            elif isinstance(selection, Inline):
                yield from self.fields(selection.selections, seen)
            elif selection.fragment not in seen:
                if selection.fragment not in self.fragments:
                    raise InvalidRequest(f"Unknown fragment '{selection.fragment}'.")
                yield from self.fields(self.fragments[selection.fragment], seen | {selection.fragment})


def parse(text: str) -> Document:
    """Read a text; raises InvalidRequest for one that is no GraphQL, or asks for too much at once."""
    reader = _Reader(text)
    operations: list[Operation] = []
    fragments: dict[str, list[Selection]] = {}
    while not reader.done:
        if reader.sees("{"):
            operations.append(Operation("query", "", {}, reader.selections()))
            continue
        word = reader.name()
        if word in ("query", "mutation"):
            operations.append(reader.operation(word))
        elif word == "fragment":
            name = reader.name()
            reader.expect("on")
            reader.name()
            reader.directives()
            fragments[name] = reader.selections()
        else:
            raise InvalidRequest(f"Syntax Error: Unexpected Name '{word}'.")
    document = Document(operations, fragments)
    for operation in operations:
        _check_size(document, operation)
    return document


def _check_size(document: Document, operation: Operation) -> None:
    roots = aliases = total = 0
    waiting = [(operation.selections, 1)]
    while waiting:
        selections, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"Query exceeds maximum depth of {MAX_DEPTH}")
        here = 0
        for field in document.fields(selections):
            total += 1
            roots += depth == 1
            here += field.alias != field.name
            if total > MAX_SELECTIONS:
                raise InvalidRequest(f"Query exceeds maximum total selections of {MAX_SELECTIONS}")
            if field.selections:
                waiting.append((field.selections, depth + 1))
        aliases = max(aliases, here)
    for count, most, what in ((roots, MAX_ROOTS, "root fields"), (aliases, MAX_ALIASES, "aliases")):
        if count > most:
            raise InvalidRequest(f"GraphQL queries should have at most {most} {what}, got {count} {what}.")


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise InvalidRequest(f"Syntax Error: Unexpected character {text[at]!r} at {at}.")
            at = found.end()
            if found.lastgroup not in (None, "skipped"):
                self._tokens.append((str(found.lastgroup), found.group()))
        self._at = self._nested = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    def sees(self, text: str) -> bool:
        return not self.done and self._tokens[self._at] in (("sign", text), ("name", text))

    def takes(self, text: str) -> bool:
        seen = self.sees(text)
        self._at += seen
        return seen

    def expect(self, text: str) -> None:
        if not self.takes(text):
            raise InvalidRequest(f"Syntax Error: Expected '{text}', found {self._shown()}.")

    def name(self) -> str:
        if self.done or self._tokens[self._at][0] != "name":
            raise InvalidRequest(f"Syntax Error: Expected Name, found {self._shown()}.")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def operation(self, kind: str) -> Operation:
        name = self.name() if not (self.sees("(") or self.sees("{") or self.sees("@")) else ""
        defaults: dict[str, Any] = {}
        if self.takes("("):
            while not self.takes(")"):
                self.expect("$")
                variable = self.name()
                self.expect(":")
                self._type()
                if self.takes("="):
                    defaults[variable] = self._value()
        self.directives()
        return Operation(kind, name, defaults, self.selections())

    def selections(self) -> list[Selection]:
        self._enter()
        self.expect("{")
        found: list[Selection] = []
        while not self.takes("}"):
            found.append(self._selection())
        self._nested -= 1
        if not found:
            raise InvalidRequest("Syntax Error: Expected Name, found '}'.")
        return found

    def directives(self) -> None:
        # None changes an answer here: @component names who asks, @include and @skip are not used by MLflow's pages.
        while self.takes("@"):
            self.name()
            self._arguments()

    def _selection(self) -> Selection:
        if self.takes("..."):
            if not (self.sees("on") or self.sees("{") or self.sees("@")):
                return Spread(self.name())
            if self.takes("on"):
                self.name()
            self.directives()
            return Inline(self.selections())
        alias = name = self.name()
        if self.takes(":"):
            name = self.name()
        arguments = self._arguments()
        self.directives()
        return Field(name, alias, arguments, self.selections() if self.sees("{") else [])

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.takes("("):
            while not self.takes(")"):
                name = self.name()
                self.expect(":")
                found[name] = self._value()
        return found

    def _value(self) -> Any:
        if self.takes("$"):
            return Variable(self.name())
        if self.takes("["):
            self._enter()
            items = []
            while not self.takes("]"):
                items.append(self._value())
            self._nested -= 1
            return items
        if self.takes("{"):
            self._enter()
            fields = {}
            while not self.takes("}"):
                name = self.name()
                self.expect(":")
                fields[name] = self._value()
            self._nested -= 1
            return fields
        return self._scalar()

    def _scalar(self) -> Any:
        kind, text = self._tokens[self._at] if not self.done else ("end", "")
        self._at += 1
        if kind == "name":
            return _WORDS.get(text, text)
        if kind == "number":
            return json.loads(text)
        if kind == "block":
            return text[3:-3].replace('\\"""', '"""')
        if kind == "string":
            try:
                return json.loads(text)
            except ValueError:
                raise InvalidRequest(f"Syntax Error: Invalid string {text}.") from None
        self._at -= 1
        raise InvalidRequest(f"Syntax Error: Expected a value, found {self._shown()}.")

    def _type(self) -> None:
        if self.takes("["):
            self._enter()
            self._type()
            self.expect("]")
            self._nested -= 1
        else:
            self.name()
        self.takes("!")

    def _enter(self) -> None:
        self._nested += 1
        if self._nested > _MAX_NESTING:
            raise InvalidRequest(f"Query exceeds maximum depth of {MAX_DEPTH}")

    def _shown(self) -> str:
        return "<EOF>" if self.done else repr(self._tokens[self._at][1])


def filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """Give an argument with its variables in place; one that was not given is left out of what holds it."""
    if isinstance(value, Variable):
        return variables.get(value.name)
    if isinstance(value, list):
        return [filled(item, variables) for item in value]
    if isinstance(value, dict):
        given = {name: item for name, item in value.items() if not _is_missing(item, variables)}
        return {name: filled(item, variables) for name, item in given.items()}
    return value


def _is_missing(value: Any, variables: Mapping[str, Any]) -> bool:
    return isinstance(value, Variable) and variables.get(value.name) is None
