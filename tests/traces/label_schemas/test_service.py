"""Questions about traces: what may be asked, what may change of a question, and the one that is always there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainspring.core.clock import ManualClock
from mainspring.core.errors import AlreadyExists, InvalidRequest, NotFound
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.journal import latest_events
from mainspring.traces.label_schemas.model import Answers, Categorical, FreeText, Numeric, PassFail
from mainspring.traces.label_schemas.service import LabelSchemas


def known_experiment(id: str) -> None:
    if id not in ("1", "2"):
        raise NotFound(f"No Experiment with id={id} exists")


@pytest.fixture
def schemas(database: Database, clock: ManualClock, reached: Callable[[LabelSchemas], LabelSchemas]) -> LabelSchemas:
    return reached(LabelSchemas(database, known_experiment, clock))


@pytest.mark.parametrize(
    "input",
    [PassFail(), PassFail("Yes", "No"), Categorical(["a", "b"], True), Numeric(0, 1.5), Numeric(), FreeText(9)],
    ids=repr,
)
def test_a_question_comes_back_as_it_was_asked(schemas: LabelSchemas, input: Answers) -> None:
    made = schemas.create("1", "Is it good?", "expectation", input, "look well", True)
    assert schemas.get(made.id) == made
    assert (made.input, made.instruction, made.enable_comment, made.is_default) == (input, "look well", True, False)


def test_every_experiment_has_a_question_that_stays_as_it_is(schemas: LabelSchemas, clock: ManualClock) -> None:
    (default,) = schemas.list("1").schemas
    clock.advance(1)
    schemas.create("1", "other", "feedback", FreeText())
    assert [one.name for one in schemas.list("1").schemas] == ["other", "Feedback"]
    first = schemas.list("1", limit=1)
    assert [one.name for one in schemas.list("1", limit=1, page=first.next_page).schemas] == ["Feedback"]
    assert default.is_default
    for name in ("Feedback", " feedBACK"):
        with pytest.raises(InvalidRequest, match="reserved"):
            schemas.create("1", name, "feedback", FreeText())
    with pytest.raises(InvalidRequest, match="cannot be deleted"):
        schemas.delete(default.id)
    with pytest.raises(InvalidRequest, match="cannot be edited"):
        schemas.change(default.id, name="mine")


def test_what_is_given_changes_and_the_kind_of_answers_stays(schemas: LabelSchemas) -> None:
    made = schemas.create("1", "a", "feedback", Categorical(["x", "y"]), "why")
    schemas.create("1", "taken", "feedback", FreeText())
    changed = schemas.change(made.id, name="b", input=Categorical(["x", "z"]))
    assert (changed.name, changed.input, changed.instruction) == ("b", Categorical(["x", "z"]), "why")
    assert schemas.get(made.id) == changed
    with pytest.raises(AlreadyExists):
        schemas.change(made.id, name="taken")
    for input in (FreeText(), Categorical(["x"], True), Categorical([])):
        with pytest.raises(InvalidRequest):
            schemas.change(made.id, input=input)
    schemas.delete(made.id)
    with pytest.raises(NotFound):
        schemas.delete(made.id)
    with schemas.database.read() as connection:
        kinds = [event.kind for event in latest_events(connection)]
    assert kinds == ["LabelSchemaDeleted", "LabelSchemaChanged", "LabelSchemaCreated", "LabelSchemaCreated"]


def test_what_is_no_question_is_refused(schemas: LabelSchemas) -> None:
    schemas.create("1", "a", "feedback", FreeText())
    with pytest.raises(AlreadyExists):
        schemas.create("1", "a", "feedback", FreeText())
    schemas.create("2", "a", "feedback", FreeText())
    with pytest.raises(NotFound, match="id=3"):
        schemas.create("3", "a", "feedback", FreeText())
    wrong: list[Answers] = [
        PassFail("a", "a"), PassFail("", "a"), PassFail("x" * 65, "a"), Categorical(), Categorical(["a", "a"]),
        Categorical([str(n) for n in range(11)]), Numeric(1, 1), FreeText(0),
    ]  # fmt: skip
    for input in wrong:
        with pytest.raises(InvalidRequest):
            schemas.create("1", "b", "feedback", input)
    for name, instruction in (("", None), ("x" * 251, None), ("b", "x" * 1001)):
        with pytest.raises(InvalidRequest):
            schemas.create("1", name, "feedback", FreeText(), instruction)
