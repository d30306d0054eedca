"""What is kept of a question."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.traces.limits import storable

MAX_NAME_CHARS, MAX_INSTRUCTION_CHARS, MAX_LABEL_CHARS, MAX_OPTIONS = 250, 1000, 64, 10
MAX_PAGE = 50_000
DEFAULT_NAME, DEFAULT_INSTRUCTION = "Feedback", "Share any feedback on this trace."

LabelType = Literal["feedback", "expectation"]


class PassFail(msgspec.Struct, frozen=True, tag="pass_fail"):
    """One of two answers."""

    positive_label: str = "Pass"
    negative_label: str = "Fail"

    def check(self) -> None:
        """Raise InvalidRequest for labels that are empty, too long or equal."""
        for label in (self.positive_label, self.negative_label):
            _check_label(label)
        if self.positive_label == self.negative_label:
            raise InvalidRequest(f"the two labels of pass_fail must be distinct; got {self.positive_label!r} for both")


class Categorical(msgspec.Struct, frozen=True, tag="categorical"):
    """One of several answers, or some of them."""

    options: list[str] = []
    multi_select: bool = False

    def check(self) -> None:
        """Raise InvalidRequest for no options, too many, or one that is there twice."""
        if not 1 <= len(self.options) <= MAX_OPTIONS or len(set(self.options)) < len(self.options):
            raise InvalidRequest(f"categorical options must be 1 to {MAX_OPTIONS}, each once; got {self.options!r}")
        for option in self.options:
            _check_label(option)


class Numeric(msgspec.Struct, frozen=True, tag="numeric"):
    """A number."""

    min_value: float | None = None
    max_value: float | None = None

    def check(self) -> None:
        """Raise InvalidRequest for bounds between which there is nothing."""
        if self.min_value is not None and self.max_value is not None and not self.min_value < self.max_value:
            raise InvalidRequest(f"min_value must be less than max_value; got {self.min_value} and {self.max_value}")


class FreeText(msgspec.Struct, frozen=True, tag="text"):
    """Any text."""

    max_length: int | None = None

    def check(self) -> None:
        """Raise InvalidRequest for a length in which there is no text."""
        if self.max_length is not None and self.max_length < 1:
            raise InvalidRequest(f"max_length of a text must be at least 1; got {self.max_length}")


Answers = PassFail | Categorical | Numeric | FreeText


class LabelSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A question about the traces of an experiment; answers to it are assessments of its name."""

    id: str
    experiment: str
    name: str
    type: LabelType
    input: Answers
    instruction: str | None = None
    enable_comment: bool = False
    created: datetime
    updated: datetime
    is_default: bool = False


class LabelSchemaPage(msgspec.Struct, frozen=True):
    """Some questions, and the token of the next page if there is one."""

    schemas: list[LabelSchema]
    next_page: str | None = None


def checked_name(name: str) -> str:
    """Give the name of a question back as it is kept; raises InvalidRequest."""
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise InvalidRequest(f"Label schema `name` must have 1 to {MAX_NAME_CHARS} characters; got {len(name)}")
    if name.strip().lower() == DEFAULT_NAME.lower():
        raise InvalidRequest(f"`{name}` is reserved for the experiment's default question: take another name")
    return storable(name)


def checked_instruction(instruction: str | None) -> str | None:
    """Give an instruction back as it is kept; raises InvalidRequest."""
    if instruction is not None and len(instruction) > MAX_INSTRUCTION_CHARS:
        raise InvalidRequest(
            f"Label schema `instruction` must be at most {MAX_INSTRUCTION_CHARS} characters; got {len(instruction)}"
        )
    return storable(instruction)


def _check_label(label: str) -> None:
    if not 1 <= len(label) <= MAX_LABEL_CHARS:
        raise InvalidRequest(f"an answer must have 1 to {MAX_LABEL_CHARS} characters; got {label!r}")
