"""``label-schemas/...``: MLflow's label schemas over ours."""

from __future__ import annotations

from contextlib import suppress

import msgspec
from msgspec import UNSET, UnsetType

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.protocols.mlflow.calls import CallList, Empty, Services
from mainspring.protocols.mlflow.entities import milliseconds
from mainspring.protocols.mlflow.traces import require_experiment
from mainspring.traces.label_schemas.model import (
    Answers,
    Categorical,
    FreeText,
    LabelSchema,
    LabelType,
    Numeric,
    PassFail,
)

calls = CallList("/3.0/mlflow")

_TYPES: dict[str | int, LabelType] = {
    **dict.fromkeys(("FEEDBACK", 1), "feedback"),
    **dict.fromkeys(("EXPECTATION", 2), "expectation"),
}


class PassFailWire(msgspec.Struct, frozen=True):
    """One of two answers."""

    positive_label: str = "Pass"
    negative_label: str = "Fail"


class CategoricalWire(msgspec.Struct, frozen=True):
    """One of several answers, or some of them."""

    options: list[str] = []
    multi_select: bool = False


class NumericWire(msgspec.Struct, frozen=True, omit_defaults=True):
    """A number."""

    min_value: float | None = None
    max_value: float | None = None


class TextWire(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any text."""

    max_length: int | None = None


class InputWire(msgspec.Struct, frozen=True):
    """What answers a question takes: just one of these."""

    pass_fail: PassFailWire | UnsetType = UNSET
    categorical: CategoricalWire | UnsetType = UNSET
    numeric: NumericWire | UnsetType = UNSET
    text: TextWire | UnsetType = UNSET


class SchemaWire(msgspec.Struct, frozen=True):
    """A question on the wire."""

    schema_id: str
    experiment_id: str
    name: str
    type: str
    enable_comment: bool
    input: InputWire
    created_at: int
    last_updated_at: int
    is_default: bool
    instruction: str | UnsetType = UNSET


class SchemaAnswer(msgspec.Struct, frozen=True):
    """One question."""

    label_schema: SchemaWire


class Create(msgspec.Struct):
    """A new question."""

    experiment_id: str
    name: str
    type: str | int
    input: InputWire
    instruction: str | None = None
    enable_comment: bool = False


class ById(msgspec.Struct):
    """Which question is meant."""

    schema_id: str


class ByName(msgspec.Struct):
    """Which question of an experiment is meant."""

    experiment_id: str
    name: str


class ListSchemas(msgspec.Struct):
    """Whose questions are asked for."""

    experiment_id: str
    max_results: int = 100
    page_token: str | None = None


class Update(msgspec.Struct):
    """What changes of a question."""

    schema_id: str
    name: str | None = None
    instruction: str | None = None
    enable_comment: bool | None = None
    input: InputWire | None = None


class SchemasAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of questions."""

    label_schemas: list[SchemaWire] = []
    next_page_token: str | None = None


@calls.on("POST", "label-schemas/create")
def create(services: Services, ask: Create) -> SchemaAnswer:
    """Ask a question."""
    require_experiment(services, ask.experiment_id)
    if ask.type not in _TYPES:
        raise InvalidRequest(f"Label schema `type` must be FEEDBACK or EXPECTATION; got {ask.type!r}")
    made = services.label_schemas.create(
        ask.experiment_id, ask.name, _TYPES[ask.type], _read(ask.input), ask.instruction, ask.enable_comment
    )
    return SchemaAnswer(_told(made))


@calls.on("GET", "label-schemas/get")
def get(services: Services, ask: ById) -> SchemaAnswer:
    """Get a question."""
    return SchemaAnswer(_told(services.label_schemas.get(ask.schema_id)))


@calls.on("GET", "label-schemas/get-by-name")
def get_by_name(services: Services, ask: ByName) -> SchemaAnswer:
    """Get a question of an experiment by its name."""
    require_experiment(services, ask.experiment_id)
    return SchemaAnswer(_told(services.label_schemas.get_by_name(ask.experiment_id, ask.name)))


@calls.on("GET", "label-schemas/list")
def list_schemas(services: Services, ask: ListSchemas) -> SchemasAnswer:
    """List the questions of an experiment."""
    require_experiment(services, ask.experiment_id)
    page = services.label_schemas.list(ask.experiment_id, ask.max_results, ask.page_token or None)
    return SchemasAnswer([_told(one) for one in page.schemas], page.next_page)


@calls.on("PATCH", "label-schemas/update")
def update(services: Services, ask: Update) -> SchemaAnswer:
    """Change a question."""
    changed = services.label_schemas.change(
        ask.schema_id, ask.name, ask.instruction, ask.enable_comment, None if ask.input is None else _read(ask.input)
    )
    return SchemaAnswer(_told(changed))


@calls.on("DELETE", "label-schemas/delete")
def delete(services: Services, ask: ById) -> Empty:
    """Delete a question; one that is not there is deleted already."""
    with suppress(NotFound):
        services.label_schemas.delete(ask.schema_id)
    return Empty()


def _read(wire: InputWire) -> Answers:
    given = [one for one in (wire.pass_fail, wire.categorical, wire.numeric, wire.text) if one is not UNSET]
    if len(given) != 1:
        raise InvalidRequest("Label schema `input` is required: one of pass_fail, categorical, numeric and text")
    found = given[0]
    if isinstance(found, PassFailWire):
        return PassFail(found.positive_label, found.negative_label)
    if isinstance(found, CategoricalWire):
        return Categorical(found.options, found.multi_select)
    if isinstance(found, NumericWire):
        return Numeric(found.min_value, found.max_value)
    assert isinstance(found, TextWire)
    return FreeText(found.max_length)


def _wire(answers: Answers) -> InputWire:
    if isinstance(answers, PassFail):
        return InputWire(pass_fail=PassFailWire(answers.positive_label, answers.negative_label))
    if isinstance(answers, Categorical):
        return InputWire(categorical=CategoricalWire(answers.options, answers.multi_select))
    if isinstance(answers, Numeric):
        return InputWire(numeric=NumericWire(answers.min_value, answers.max_value))
    return InputWire(text=TextWire(answers.max_length))


def _told(schema: LabelSchema) -> SchemaWire:
    return SchemaWire(
        schema_id=schema.id,
        experiment_id=schema.experiment,
        name=schema.name,
        type=schema.type.upper(),
        enable_comment=schema.enable_comment,
        input=_wire(schema.input),
        created_at=milliseconds(schema.created),
        last_updated_at=milliseconds(schema.updated),
        is_default=schema.is_default,
        instruction=UNSET if schema.instruction is None else schema.instruction,
    )
