"""MLflow's client asks people questions about traces here as with its own server."""

from __future__ import annotations

import uuid

import httpx2
import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.genai import label_schemas
from mlflow.genai.label_schemas import InputCategorical, InputNumeric, InputPassFail, InputText


@pytest.fixture
def experiment(tracking_url: str) -> str:
    """The id of an experiment that only this test uses, which is the active one."""
    mlflow.set_tracking_uri(tracking_url)
    return mlflow.set_experiment(f"e-{uuid.uuid4().hex}").experiment_id


def test_questions_are_asked_changed_and_found(experiment: str) -> None:
    inputs = [InputPassFail("Yes", "No"), InputCategorical(["a", "b"]), InputNumeric(0, 10), InputText(100)]
    made = [
        label_schemas.create_label_schema(f"q{n}", type="feedback", input=one, instruction="look", enable_comment=True)
        for n, one in enumerate(inputs)
    ]
    assert [one.input for one in made] == inputs
    for one in made:
        assert label_schemas.get_label_schema(schema_id=one.schema_id) == one
    assert label_schemas.get_label_schema("q1", experiment_id=experiment).schema_id == made[1].schema_id
    changed = label_schemas.update_label_schema(made[1].schema_id, name="q9", input=InputCategorical(["a", "c"]))
    assert (changed.name, changed.input.options, changed.instruction) == ("q9", ["a", "c"], "look")
    names = {one.name for one in label_schemas.list_label_schemas(experiment_id=experiment)}
    assert names == {"q0", "q9", "q2", "q3", "Feedback"}
    label_schemas.delete_label_schema(schema_id=made[0].schema_id)
    label_schemas.delete_label_schema(schema_id=made[0].schema_id)
    with pytest.raises(MlflowException, match="not found") as gone:
        label_schemas.get_label_schema(schema_id=made[0].schema_id)
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_what_is_no_question_is_refused(tracking_url: str, experiment: str) -> None:
    label_schemas.create_label_schema("q", type="expectation", input=InputText())
    with pytest.raises(MlflowException) as twice:
        label_schemas.create_label_schema("q", type="expectation", input=InputText())
    assert twice.value.error_code == "RESOURCE_ALREADY_EXISTS"
    body = {"experiment_id": experiment, "name": "a", "type": "FEEDBACK", "input": {"text": {}}}
    for wrong in ({"input": {}}, {"input": {"text": {}, "numeric": {}}}, {"type": 0}, {"name": "feedback"}):
        answer = httpx2.post(f"{tracking_url}/api/3.0/mlflow/label-schemas/create", json=body | wrong)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
