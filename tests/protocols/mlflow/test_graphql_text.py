"""GraphQL is read as its language says, and a text that asks for too much is refused before anything is looked up."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.protocols.mlflow.graphql_text import Variable, filled, parse


def test_names_arguments_and_selections_are_read() -> None:
    text = """
    # who asks
    query Page($id: String! = "7", $all: [Int!]) @component(name: "Runs") {
      first: run(input: {id: $id, steps: [1, -2.5, 1e3], on: true, none: null, kind: ALL, ids: $all}) { info { id } }
    }
    """
    operation = parse(text).operations[0]
    assert (operation.kind, operation.name, operation.defaults) == ("query", "Page", {"id": "7"})
    field = next(parse(text).fields(operation.selections))
    assert (field.name, field.alias) == ("run", "first")
    given = field.arguments["input"]
    assert given["id"] == Variable("id")
    assert filled(given, {"id": "8"}) == {"id": "8", "steps": [1, -2.5, 1e3], "on": True, "none": None, "kind": "ALL"}


def test_fragments_stand_in_place() -> None:
    document = parse("{ a ...Two ... on Run { d } } fragment Two on Run { b ...Three } fragment Three on Run { c }")
    assert [field.name for field in document.fields(document.operations[0].selections)] == ["a", "b", "c", "d"]


def test_texts_have_escapes() -> None:
    document = parse(r'{ a(t: "ż \"x\" ó", b: """raw "it" """) { b } }')
    assert next(document.fields(document.operations[0].selections)).arguments == {"t": 'ż "x" ó', "b": 'raw "it" '}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", None),
        ("{", "Expected Name, found <EOF>"),
        ("{ }", "Expected Name"),
        ("{ a(", "Expected Name"),
        ("{ a(x: ) { b } }", "Expected a value"),
        ("nonsense { a }", "Unexpected Name 'nonsense'"),
        ("subscription { a }", "Unexpected Name 'subscription'"),
        ("{ a ; b }", "Unexpected character ';'"),
        ('{ a(t: "\\x") { b } }', "Invalid string"),
        ("{ ...Nowhere }", "Unknown fragment 'Nowhere'"),
        ("{ a { b }", "Expected Name, found <EOF>"),
        ("query Q($x) { a }", "Expected ':'"),
    ],
)
def test_what_is_no_graphql_is_refused_with_what_was_expected(text: str, says: str | None) -> None:
    if says is None:
        assert parse(text).operations == []
        return
    with pytest.raises(InvalidRequest, match=says):
        parse(text)


def nested(depth: int) -> str:
    return "{ a " * depth + "}" * depth


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (nested(11), "exceeds maximum depth of 10"),
        (nested(100_000), "exceeds maximum depth of 10"),
        ("{ a(x: " + "[" * 100_000 + ") { b } }", "exceeds maximum depth of 10"),
        ("{ " + " ".join(f"r{n}" for n in range(11)) + " }", "at most 10 root fields, got 11 root fields"),
        ("{ a { " + " ".join(f"x{n}: b" for n in range(11)) + " } }", "at most 10 aliases, got 11 aliases"),
        ("{ a { " + " ".join(f"b{n}" for n in range(1_001)) + " } }", "exceeds maximum total selections of 1000"),
        ("{ a { ...F } } fragment F on A { x1: b ...F }" + " ", None),
        ("{ ...A } fragment A on Q { " + " ".join(f"r{n}" for n in range(11)) + " }", "at most 10 root fields"),
    ],
)
def test_what_asks_for_too_much_is_refused(text: str, says: str | None) -> None:
    if says is None:
        assert len(parse(text).operations) == 1, "a fragment that holds itself is read once"
        return
    with pytest.raises(InvalidRequest, match=says):
        parse(text)


def test_just_enough_is_taken() -> None:
    parse(nested(10))
    parse("{ a { " + " ".join(f"b{n}" for n in range(999)) + " } }")
