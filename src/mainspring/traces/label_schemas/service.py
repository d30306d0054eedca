"""The verbs of label schemas: ask a question, ask it otherwise, ask it no longer."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import msgspec

from mainspring.core.clock import Clock, SystemClock
from mainspring.core.errors import InvalidRequest
from mainspring.core.operations import operation
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import emit
from mainspring.traces.label_schemas import store
from mainspring.traces.label_schemas.events import LabelSchemaChanged, LabelSchemaCreated, LabelSchemaDeleted
from mainspring.traces.label_schemas.model import (
    DEFAULT_INSTRUCTION,
    DEFAULT_NAME,
    MAX_PAGE,
    Answers,
    Categorical,
    FreeText,
    LabelSchema,
    LabelSchemaPage,
    LabelType,
    checked_instruction,
    checked_name,
)


class LabelSchemas:
    """The questions of every experiment, kept in *database*.

    *known_experiment* is called with the id of an experiment that a question is asked for, and raises NotFound when
    there is none.
    """

    def __init__(
        self, database: Database, known_experiment: Callable[[str], object], clock: Clock | None = None
    ) -> None:
        self.database, self.clock = database, clock or SystemClock()
        self._known_experiment = known_experiment

    @operation("POST /label-schemas")
    def create(
        self,
        experiment: str,
        name: str,
        type: LabelType,
        input: Answers,
        instruction: str | None = None,
        enable_comment: bool = False,
    ) -> LabelSchema:
        """Ask a question about the traces of an experiment, which is named by its id.

        Raises NotFound for an unknown experiment, AlreadyExists for a name that it has, InvalidRequest for no question.
        """
        self._known_experiment(experiment)
        input.check()
        fresh = self._fresh(experiment, checked_name(name), type, input, checked_instruction(instruction))
        fresh = msgspec.structs.replace(fresh, enable_comment=enable_comment)
        with self.database.begin() as connection:
            if not store.insert_schema(connection, fresh):
                raise store.exists_already(fresh)
            emit(connection, LabelSchemaCreated(schema=fresh.id, experiment=experiment, name=fresh.name))
        return fresh

    @operation("GET /label-schemas/{schema}")
    def get(self, schema: str) -> LabelSchema:
        """Show a question by its id; raises NotFound."""
        with self.database.read() as connection:
            return store.require(connection, schema)

    def get_by_name(self, experiment: str, name: str) -> LabelSchema:
        """Get a question of an experiment by its name; raises NotFound."""
        self._known_experiment(experiment)
        with self.database.read() as connection:
            return store.require_named(connection, experiment, name)

    @operation("GET /label-schemas")
    def list(self, experiment: str, limit: int = 100, page: str | None = None) -> LabelSchemaPage:
        """List the questions of an experiment, newest first; each has one for any feedback, from the start."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"max_results must be between 1 and {MAX_PAGE}.")
        if page and not (page.isascii() and page.isdigit() and len(page) < 18):
            raise InvalidRequest(f"Invalid page token {page[:80]!r}: hand back the token as it was given")
        self._known_experiment(experiment)
        offset = int(page or 0)
        with self.database.read() as connection:
            is_there = store.has_default(connection, experiment)
        if not is_there:
            self._add_default(experiment)
        with self.database.read() as connection:
            found = store.schemas_of(connection, experiment, limit + 1, offset)
        return LabelSchemaPage(found[:limit], str(offset + limit) if len(found) > limit else None)

    @operation("PATCH /label-schemas/{schema}")
    def change(
        self,
        schema: str,
        name: str | None = None,
        instruction: str | None = None,
        enable_comment: bool | None = None,
        input: Answers | None = None,
    ) -> LabelSchema:
        """Change what is given of a question; the kind of its answers stays, so that those given hold.

        Raises NotFound, AlreadyExists for a name that another has, InvalidRequest for the default question.
        """
        with self.database.begin() as connection:
            before = store.require(connection, schema, locked=True)
            _check_own(before, "edited")
            _check_answers(before.input, input)
            after = msgspec.structs.replace(
                before,
                name=before.name if name in (None, before.name) else checked_name(str(name)),
                instruction=before.instruction if instruction is None else checked_instruction(instruction),
                enable_comment=before.enable_comment if enable_comment is None else enable_comment,
                input=input or before.input,
                updated=self.clock.now(),
            )
            store.change(connection, before, after)
            emit(connection, LabelSchemaChanged(schema=schema, experiment=after.experiment, name=after.name))
        return after

    @operation("DELETE /label-schemas/{schema}")
    def delete(self, schema: str) -> None:
        """Ask a question no longer; answers to it stay. Raises NotFound, InvalidRequest for the default question."""
        with self.database.begin() as connection:
            found = store.require(connection, schema, locked=True)
            _check_own(found, "deleted")
            store.delete_schema(connection, schema)
            emit(connection, LabelSchemaDeleted(schema=schema, experiment=found.experiment, name=found.name))

    def _fresh(
        self, experiment: str, name: str, type: LabelType, input: Answers, instruction: str | None
    ) -> LabelSchema:
        now = self.clock.now()
        return LabelSchema(
            id=f"ls-{uuid4().hex}",
            experiment=experiment,
            name=name,
            type=type,
            input=input,
            instruction=instruction,
            created=now,
            updated=now,
        )

    def _add_default(self, experiment: str) -> None:
        asked = self._fresh(experiment, DEFAULT_NAME, "feedback", FreeText(), DEFAULT_INSTRUCTION)
        with self.database.begin() as connection:
            if store.insert_schema(connection, msgspec.structs.replace(asked, is_default=True)):
                emit(connection, LabelSchemaCreated(schema=asked.id, experiment=experiment, name=asked.name))


def _check_own(schema: LabelSchema, done: str) -> None:
    if schema.is_default:
        raise InvalidRequest(f"The experiment's default question cannot be {done}.")


def _check_answers(before: Answers, after: Answers | None) -> None:
    if after is None:
        return
    after.check()
    if type(after) is not type(before):
        raise InvalidRequest("A label schema's input type cannot be changed after creation.")
    if isinstance(after, Categorical) and isinstance(before, Categorical) and after.multi_select != before.multi_select:
        raise InvalidRequest("`multi_select` of a categorical input cannot be changed after creation.")
