"""The grammar in which records are searched: ``tags.team = 'ads' and (name like 'churn%' or version > 3)``.

    expression := term (OR term)*            term := factor (AND factor)*
    factor     := NOT factor | ( expression ) | comparison
    comparison := field (= | != | < | <= | > | >=) value | field [NOT] LIKE 'pattern' | field [NOT] ILIKE 'pattern'
                | field [NOT] IN (value, ...) | field [NOT] BETWEEN value AND value | field IS [NOT] NULL
    field      := ENTITY.KEY | NAME

KEY may stand in backticks or double quotes. Which entities and names there are is the business of the room that
searches: it reads the text with `parse_filter` and turns the tree into its own query. A comparison holds only for what
has the key, negated or not; NOT before it turns that round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "like", "ilike", "rlike", "in", "null"]
Value = str | float

ATTRIBUTE = "attribute"
"""The entity of a field that is named alone."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])
      | (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"[^"]*"|`[^`]*`)
      | (?P<word>[^\W\d][\w./-]*)
      | (?P<sign><=|>=|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_COMPARISONS: tuple[Operator, ...] = ("<=", ">=", "!=", "=", "<", ">")
_MAX_CHARS = 200_000
_MAX_DEPTH = 50


class Field(msgspec.Struct, frozen=True):
    """What of a record is meant: the key of an entity, or an attribute by its name."""

    entity: str
    key: str

    def __str__(self) -> str:
        return self.key if self.entity == ATTRIBUTE else f"{self.entity}.{self.key}"


class Comparison(msgspec.Struct, frozen=True):
    """One test of one field; ``null`` holds when the record has no such field."""

    field: Field
    operator: Operator
    values: list[Value] = []


class Not(msgspec.Struct, frozen=True):
    """True when the part is not."""

    part: Filter


class AllOf(msgspec.Struct, frozen=True):
    """True when every part is; so without parts, always."""

    parts: list[Filter] = []


class AnyOf(msgspec.Struct, frozen=True):
    """True when one part is."""

    parts: list[Filter]


Filter = Comparison | Not | AllOf | AnyOf


class Order(msgspec.Struct, frozen=True):
    """A field to sort by."""

    field: Field
    descending: bool = False


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    at: int


def parse_filter(text: str, entities: Mapping[str, str], *, rlike: bool = False) -> Filter:
    """Read a filter; an empty one is true of everything. *rlike*: RLIKE 'regular expression' may be used as LIKE is.

    *entities* gives the name of an entity by each word that may stand for it: ``{"tags": "tag", "tag": "tag"}``.
    Raises InvalidRequest that says where it went wrong.
    """
    if len(text) > _MAX_CHARS:
        raise InvalidRequest(f"the filter has {len(text)} characters, more than the {_MAX_CHARS} allowed")
    reader = _Reader(text, entities, rlike=rlike)
    if reader.at_end():
        return AllOf()
    found = reader.expression(0)
    if not reader.at_end():
        raise reader.wrong("AND, OR or the end")
    return found


def parse_order(text: str, entities: Mapping[str, str]) -> Order:
    """Read ``name DESC``; raises InvalidRequest."""
    reader = _Reader(text, entities)
    field = reader.field()
    descending = reader.take_word("desc")
    if not descending:
        reader.take_word("asc")
    if not reader.at_end():
        raise reader.wrong("ASC, DESC or the end")
    return Order(field, descending)


def comparisons(where: Filter) -> Iterator[Comparison]:
    """Give every comparison in a filter."""
    if isinstance(where, Comparison):
        yield where
    elif isinstance(where, Not):
        yield from comparisons(where.part)
    else:
        for part in where.parts:
            yield from comparisons(part)


class _Reader:
    def __init__(self, text: str, entities: Mapping[str, str], *, rlike: bool = False) -> None:
        if "\0" in text:
            raise InvalidRequest("the filter holds a NUL character, which no key or value can have")
        self.text, self.entities, self.rlike = text, entities, rlike
        self.tokens = list(_tokens(text))
        self.next = 0

    def at_end(self) -> bool:
        return self.next == len(self.tokens)

    def wrong(self, expected: str) -> InvalidRequest:
        found = "the end" if self.at_end() else repr(self.tokens[self.next].text)
        at = len(self.text) if self.at_end() else self.tokens[self.next].at
        return InvalidRequest(f"Invalid filter {self.text!r}: expected {expected} at character {at}, found {found}")

    def take(self, kind: str, expected: str) -> str:
        if self.at_end() or self.tokens[self.next].kind != kind:
            raise self.wrong(expected)
        self.next += 1
        return self.tokens[self.next - 1].text

    def take_word(self, word: str) -> bool:
        return self._take_if("word", word)

    def take_sign(self, sign: str) -> bool:
        return self._take_if("sign", sign)

    def _take_if(self, kind: str, text: str) -> bool:
        if self.at_end():
            return False
        token = self.tokens[self.next]
        if token.kind != kind or token.text.lower() != text:
            return False
        self.next += 1
        return True

    def expression(self, depth: int) -> Filter:
        parts = [self.term(depth)]
        while self.take_word("or"):
            parts.append(self.term(depth))
        return parts[0] if len(parts) == 1 else AnyOf(parts)

    def term(self, depth: int) -> Filter:
        parts = [self.factor(depth)]
        while self.take_word("and"):
            parts.append(self.factor(depth))
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def factor(self, depth: int) -> Filter:
        if depth > _MAX_DEPTH:
            raise InvalidRequest(f"the filter nests more than {_MAX_DEPTH} deep")
        if self.take_word("not"):
            return Not(self.factor(depth + 1))
        if self.take_sign("("):
            inner = self.expression(depth + 1)
            if not self.take_sign(")"):
                raise self.wrong(")")
            return inner
        return self.comparison()

    def comparison(self) -> Filter:
        field = self.field()
        if self.take_word("is"):
            negated = self.take_word("not")
            if not self.take_word("null"):
                raise self.wrong("NULL")
            return Not(Comparison(field, "null")) if negated else Comparison(field, "null")
        for sign in _COMPARISONS:
            if self.take_sign(sign):
                return Comparison(field, sign, [self.value()])
        negated = self.take_word("not")
        found = self._words(field)
        # A negated test still asks for the key, as != does.
        return AllOf([Not(Comparison(field, "null")), Not(found)]) if negated else found

    def _words(self, field: Field) -> Filter:
        if self.take_word("like"):
            return Comparison(field, "like", [self.value()])
        if self.take_word("ilike"):
            return Comparison(field, "ilike", [self.value()])
        if self.rlike and self.take_word("rlike"):
            return Comparison(field, "rlike", [self.value()])
        if self.take_word("between"):
            low = self.value()
            if not self.take_word("and"):
                raise self.wrong("AND")
            return AllOf([Comparison(field, ">=", [low]), Comparison(field, "<=", [self.value()])])
        if not self.take_word("in") or not self.take_sign("("):
            raise self.wrong("=, !=, <, <=, >, >=, LIKE, ILIKE, IN (...), BETWEEN or IS NULL")
        values = [self.value()]
        while self.take_sign(","):
            values.append(self.value())
        if not self.take_sign(")"):
            raise self.wrong(", or )")
        return Comparison(field, "in", values)

    def value(self) -> Value:
        if self.at_end():
            raise self.wrong("a number or a text in quotes")
        token = self.tokens[self.next]
        if token.kind not in ("number", "text", "quoted") or token.text.startswith("`"):
            raise self.wrong("a number or a text in quotes")
        self.next += 1
        if token.kind == "number":
            return float(token.text)
        return token.text[1:-1].replace("''", "'") if token.kind == "text" else token.text[1:-1]

    def field(self) -> Field:
        if not self.at_end() and self.tokens[self.next].kind == "quoted":
            return Field(ATTRIBUTE, self.take("quoted", "a field")[1:-1])
        word = self.take("word", "a field such as name or tags.team")
        head, dot, key = word.partition(".")
        if not dot:
            return Field(ATTRIBUTE, word)
        if head.lower() not in self.entities:
            known = ", ".join(dict.fromkeys(self.entities))
            raise InvalidRequest(f"Invalid entity type {head!r} in {self.text!r}: expected one of {known}")
        if word.endswith("."):
            key += self.take("quoted", f"the name of a {head}")[1:-1]
        return Field(self.entities[head.lower()], key)


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise InvalidRequest(f"Invalid filter {text!r}: cannot read on from character {at}: {text[at : at + 20]!r}")
        yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        at = match.end()


def translated(where: Filter, change: Callable[[Comparison], Filter]) -> Filter:
    """Give the filter with every comparison replaced by what *change* makes of it."""
    if isinstance(where, AllOf):
        return AllOf([translated(part, change) for part in where.parts])
    if isinstance(where, AnyOf):
        return AnyOf([translated(part, change) for part in where.parts])
    if isinstance(where, Not):
        return Not(translated(where.part, change))
    return change(where)
