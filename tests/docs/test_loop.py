"""The page on the loop describes its document field by field, with the types that the fields have."""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from mainspring.loop import model
from mainspring.monitoring.model import AlarmKind
from mainspring.registry.signature import Task
from mainspring.rollouts import model as rollouts
from tests.docs.examples import ROOT

PAGE = (ROOT / "docs" / "loop.md").read_text()
SECTIONS = {
    model.LoopReport: "The turn",
    model.MetricName: "Metric",
    model.WindowQuality: "Windows",
    model.Alarm: "Alarms",
    model.Retraining: "Retrainings",
    model.Decision: "Decisions",
    model.Requests: "Requests",
}
NUMBERS = {int: "integer", float: "number", bool: "boolean"}


def described(section: str) -> dict[str, str]:
    """The fields that a section's table names, with the type that it gives."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    return {name: kind for cell, kind in rows for name in re.findall(r"`(\w+)`", cell)}


def written(kind: Any) -> set[str]:
    """How the page may write a type: a ref is a string, and a list of texts may say no more than that it is one."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (other,) = (one for one in inner if one is not NoneType)
        return {f"{one} or null" for one in written(other)}
    if kind in NUMBERS:
        return {NUMBERS[kind]}
    if kind is str or origin is Literal:
        return {"string", "ref"}
    if origin is tuple:
        return {f"two {NUMBERS[inner[0]]}s"}
    if origin is list:
        return {"list", *(f"list of {one}s" for one in written(inner[0]))}
    return {"object"}


def test_every_struct_of_the_document_has_a_section() -> None:
    structs = {kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    assert structs == set(SECTIONS)


@pytest.mark.parametrize("struct", SECTIONS, ids=lambda struct: struct.__name__)
def test_the_fields_described_are_those_there_are(struct: type[msgspec.Struct]) -> None:
    assert set(described(SECTIONS[struct])) == set(struct.__struct_fields__)


@pytest.mark.parametrize("struct", SECTIONS, ids=lambda struct: struct.__name__)
def test_the_types_described_are_those_of_the_fields(struct: type[msgspec.Struct]) -> None:
    hints = get_type_hints(struct)
    wrong = {name: kind for name, kind in described(SECTIONS[struct]).items() if kind not in written(hints[name])}
    assert wrong == {}


@pytest.mark.parametrize("words", [model.TriggerKind, model.Outcome, AlarmKind, Task, rollouts.Decision])
def test_every_word_that_may_come_is_named(words: object) -> None:
    assert all(f"`{word}`" in PAGE for word in words.__args__)
