"""What happened to the questions that people answer about traces."""

from __future__ import annotations

from mainspring.core.events import Event
from mainspring.core.refs import ref


class LabelSchemaCreated(Event, frozen=True, kw_only=True):
    """A question was asked for the first time."""

    schema: str
    experiment: str
    name: str

    def makes(self) -> list[str]:
        """Name the question."""
        return [ref("label_schema", self.schema)]


class LabelSchemaChanged(LabelSchemaCreated, frozen=True, kw_only=True):
    """A question is asked otherwise."""


class LabelSchemaDeleted(LabelSchemaCreated, frozen=True, kw_only=True):
    """A question is asked no longer; the answers to it stay."""
