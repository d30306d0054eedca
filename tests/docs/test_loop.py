"""The page on the loop describes its document field by field."""

from __future__ import annotations

import re

import msgspec
import pytest

from mainspring.loop import model
from tests.docs.examples import ROOT

PAGE = (ROOT / "docs" / "loop.md").read_text()
SECTIONS = {
    model.LoopReport: "The turn",
    model.MetricName: "Metric",
    model.Alarm: "Alarms",
    model.Retraining: "Retrainings",
    model.Decision: "Decisions",
    model.Requests: "Requests",
}


def described(section: str) -> set[str]:
    """The fields that a section's table names."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_struct_of_the_document_has_a_section() -> None:
    structs = {kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    assert structs == set(SECTIONS)


@pytest.mark.parametrize("struct", SECTIONS, ids=lambda struct: struct.__name__)
def test_the_fields_described_are_those_there_are(struct: type[msgspec.Struct]) -> None:
    assert described(SECTIONS[struct]) == set(struct.__struct_fields__)


@pytest.mark.parametrize("words", [model.TriggerKind, model.Outcome])
def test_every_word_that_may_come_is_named(words: object) -> None:
    assert all(f"`{word}`" in PAGE for word in words.__args__)
