"""The language in which runs are searched: ``metrics.auc > 0.9 and (tags.team = 'ads' or params.model like 'gb%')``.

    expression := term (OR term)*            term := factor (AND factor)*
    factor     := NOT factor | ( expression ) | comparison
    comparison := field (= | != | < | <= | > | >=) value | field [NOT] LIKE 'pattern' | field [NOT] ILIKE 'pattern'
                | field [NOT] IN (value, ...) | field IS [NOT] NULL
    field      := metrics.KEY | params.KEY | tags.KEY | [attributes.]NAME

KEY may stand in backticks or double quotes. A comparison holds only for runs that have the key; NOT turns that round.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest

Entity = Literal["metric", "param", "tag", "attribute"]
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "like", "ilike", "in", "null"]
Value = str | float

_ENTITIES: dict[str, Entity] = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
}
_ATTRIBUTES = {
    **dict.fromkeys(("id", "run_id"), "id"),
    **dict.fromkeys(("name", "run_name"), "name"),
    **dict.fromkeys(("started", "start_time", "created"), "started"),
    **dict.fromkeys(("ended", "end_time"), "ended"),
    **{name: name for name in ("status", "parent", "commit", "branch")},
}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])
      | (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"[^"]*"|`[^`]*`)
      | (?P<word>[A-Za-z_][\w./-]*)
      | (?P<sign><=|>=|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
_MAX_CHARS = 10_000
_MAX_DEPTH = 50


class Field(msgspec.Struct, frozen=True):
    """What of a run is meant."""

    entity: Entity
    key: str


class Comparison(msgspec.Struct, frozen=True):
    """One test of one field; ``null`` holds when the run has no such field."""

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
    """A field to sort by; runs without it come last in both directions."""

    field: Field
    descending: bool = False


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    at: int


def parse_filter(text: str) -> Filter:
    """Read a filter; an empty one is true of every run. Raises InvalidRequest that says where it went wrong."""
    if len(text) > _MAX_CHARS:
        raise InvalidRequest(f"the filter has {len(text)} characters, more than the {_MAX_CHARS} allowed")
    if "\0" in text:
        raise InvalidRequest("the filter holds a NUL character, which no key or value can have")
    reader = _Reader(text)
    if reader.at_end():
        return AllOf()
    found = reader.expression(0)
    if not reader.at_end():
        raise reader.wrong("AND, OR or the end")
    return found


def parse_order(text: str) -> Order:
    """Read ``metrics.auc DESC``; raises InvalidRequest."""
    reader = _Reader(text)
    field = reader.field()
    descending = reader.take_word("desc")
    if not descending:
        reader.take_word("asc")
    if not reader.at_end():
        raise reader.wrong("ASC, DESC or the end")
    return Order(field, descending)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.next = 0

    def at_end(self) -> bool:
        return self.next >= len(self.tokens)

    def wrong(self, expected: str) -> InvalidRequest:
        if self.at_end():
            return InvalidRequest(f"{self.text!r} ends too early: expected {expected}")
        token = self.tokens[self.next]
        return InvalidRequest(f"{self.text!r}: at {token.text!r} (character {token.at}) expected {expected}")

    def take(self, kind: str, expected: str) -> str:
        if self.at_end() or self.tokens[self.next].kind != kind:
            raise self.wrong(expected)
        self.next += 1
        return self.tokens[self.next - 1].text

    def _take_if(self, kind: str, text: str) -> bool:
        if self.at_end():
            return False
        token = self.tokens[self.next]
        if token.kind != kind or token.text.lower() != text:
            return False
        self.next += 1
        return True

    def take_word(self, word: str) -> bool:
        return self._take_if("word", word)

    def take_sign(self, sign: str) -> bool:
        return self._take_if("sign", sign)

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
                return _checked(Comparison(field, sign, [self.value()]))  # type: ignore[arg-type]
        negated = self.take_word("not")
        found = self._words(field)
        # A negated test still asks for the key, as != does.
        return AllOf([Not(Comparison(field, "null")), Not(found)]) if negated else found

    def _words(self, field: Field) -> Comparison:
        if self.take_word("like"):
            return _checked(Comparison(field, "like", [self.value()]))
        if self.take_word("ilike"):
            return _checked(Comparison(field, "ilike", [self.value()]))
        if not self.take_word("in") or not self.take_sign("("):
            raise self.wrong("=, !=, <, <=, >, >=, LIKE, ILIKE, IN (...) or IS NULL")
        values = [self.value()]
        while self.take_sign(","):
            values.append(self.value())
        if not self.take_sign(")"):
            raise self.wrong(", or )")
        return _checked(Comparison(field, "in", values))

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
        word = self.take("word", "a field such as metrics.auc, params.lr, tags.team or status")
        head, dot, key = word.partition(".")
        entity = _ENTITIES.get(head.lower())
        if entity is None or not dot:
            return _attribute(word)
        if not key:
            key = self.take("quoted", f"the name of a {entity}")[1:-1]
        return _attribute(key) if entity == "attribute" else Field(entity, key)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise InvalidRequest(f"{text!r}: cannot read on from character {at}: {text[at : at + 20]!r}")
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return found


def _attribute(name: str) -> Field:
    if name.lower() not in _ATTRIBUTES:
        raise InvalidRequest(
            f"{name!r} is no field of a run: write metrics.NAME, params.NAME, tags.NAME, or one of "
            f"{', '.join(sorted(set(_ATTRIBUTES.values())))}"
        )
    return Field("attribute", _ATTRIBUTES[name.lower()])


def _checked(comparison: Comparison) -> Comparison:
    field, values = comparison.field, comparison.values
    if field.entity == "metric":
        if comparison.operator in ("like", "ilike") or not all(isinstance(value, float) for value in values):
            raise InvalidRequest(f"metrics.{field.key} is a number: compare it with numbers")
        return comparison
    if field.entity == "attribute" and field.key in ("started", "ended"):
        if comparison.operator in ("like", "ilike"):
            raise InvalidRequest(f"{field.key} is a time: compare it with '2026-01-31T12:00:00Z' or milliseconds")
        return comparison
    if comparison.operator in ("<", "<=", ">", ">=") or not all(isinstance(value, str) for value in values):
        raise InvalidRequest(f"{field.key} is a text: compare it by =, !=, LIKE or IN, with the value in quotes")
    return comparison
