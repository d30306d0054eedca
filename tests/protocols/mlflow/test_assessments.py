"""MLflow's client logs, reads, overrides, changes and deletes judgements of traces here as with its own server."""

from __future__ import annotations

import uuid
from typing import Any

import httpx2
import mlflow
import pytest
from mlflow.entities import AssessmentError, AssessmentSource, Expectation, Feedback
from mlflow.exceptions import MlflowException


@pytest.fixture
def trace(tracking_url: str) -> str:
    """The id of a trace that only this test judges."""
    mlflow.set_tracking_uri(tracking_url)
    info = {
        "trace_id": f"tr-{uuid.uuid4().hex}",
        "trace_location": {"mlflow_experiment": {"experiment_id": "0"}},
        "state": "OK",
    }
    base = f"{tracking_url}/api/3.0/mlflow/traces"
    httpx2.post(base, json={"trace": {"trace_info": info}}).raise_for_status()
    return info["trace_id"]


def path(tracking_url: str, trace: str, id: str = "") -> str:
    return f"{tracking_url}/api/3.0/mlflow/traces/{trace}/assessments/{id}".rstrip("/")


@pytest.mark.parametrize("value", [True, False, 1, 0.25, "yes", ["a", 1], {"a": 0.5, "b": "x"}, None], ids=repr)
def test_feedback_comes_back_as_it_was_given(trace: str, value: Any) -> None:
    source = AssessmentSource("LLM_JUDGE", "judge-1")
    error = None if value is not None else AssessmentError("RATE", "too many", "at line 1")
    logged = mlflow.log_feedback(
        trace_id=trace, name="good", value=value, error=error, source=source, rationale="why",
        metadata={"a": "1", "mlflow.assessment.sourceRunId": "r"}, span_id="00f067aa0ba902b7",
    )  # fmt: skip
    found = mlflow.get_assessment(trace, logged.assessment_id)
    assert isinstance(found, Feedback) and found == logged
    assert (found.value, found.source, found.rationale, found.span_id) == (value, source, "why", "00f067aa0ba902b7")
    assert (found.error, found.run_id, found.valid) == (error, "r", True)


@pytest.mark.parametrize("value", [True, 1, 0.25, "yes", ["a", 1.0], {"a": {"b": None}}], ids=repr)
def test_an_expectation_comes_back_as_it_was_given(trace: str, value: Any) -> None:
    logged = mlflow.log_expectation(trace_id=trace, name="facts", value=value)
    found = mlflow.get_assessment(trace, logged.assessment_id)
    assert isinstance(found, Expectation) and found.value == value and found.source.source_type == "HUMAN"


def test_judgements_come_with_their_trace(trace: str) -> None:
    mlflow.log_feedback(trace_id=trace, name="good", value=0.5)
    mlflow.log_expectation(trace_id=trace, name="facts", value=[1])
    info = mlflow.MlflowClient()._tracing_client.get_trace_info(trace)
    assert {(one.name, str(one.value)) for one in info.assessments} == {("good", "0.5"), ("facts", "[1]")}


def test_a_judgement_is_changed_and_keeps_what_was_not(trace: str) -> None:
    first = mlflow.log_feedback(trace_id=trace, name="good", value=1, rationale="why", metadata={"a": "1"})
    changed = mlflow.update_assessment(trace, first.assessment_id, Feedback("good", 2, metadata={"b": "2"}))
    assert (changed.value, changed.rationale, changed.metadata) == (2, "why", {"a": "1", "b": "2"})
    assert changed.create_time_ms == first.create_time_ms
    assert changed.last_update_time_ms >= first.last_update_time_ms
    with pytest.raises(MlflowException) as refused:
        mlflow.update_assessment(trace, first.assessment_id, Expectation("good", 2))
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


def test_what_is_overridden_is_no_longer_valid_until_the_other_is_deleted(trace: str) -> None:
    first = mlflow.log_feedback(trace_id=trace, name="good", value=False)
    second = mlflow.override_feedback(trace_id=trace, assessment_id=first.assessment_id, value=True, rationale="no")
    assert second.overrides == first.assessment_id
    assert mlflow.get_assessment(trace, first.assessment_id).valid is False
    mlflow.delete_assessment(trace, second.assessment_id)
    mlflow.delete_assessment(trace, second.assessment_id)
    assert mlflow.get_assessment(trace, first.assessment_id).valid is True
    with pytest.raises(MlflowException, match="not found") as gone:
        mlflow.get_assessment(trace, second.assessment_id)
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_a_judgement_sent_again_is_kept_once(tracking_url: str, trace: str) -> None:
    body = {
        "assessment": {
            "assessment_name": "good",
            "source": {"source_type": "HUMAN", "source_id": "me"},
            "create_time": "2026-01-31T12:00:00.250Z",
            "feedback": {"value": 1.0},
        }
    }
    answers = [httpx2.post(path(tracking_url, trace), json=body) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    told = answers[0].json()["assessment"]
    assert (told["feedback"], told["create_time"]) == ({"value": 1}, "2026-01-31T12:00:00.250Z")
    assert len(mlflow.MlflowClient()._tracing_client.get_trace_info(trace).assessments) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"assessment_name": "x"},
        {"assessment_name": "x", "feedback": {"value": 1}, "expectation": {"value": 1}},
        {"assessment_name": "", "feedback": {"value": 1}},
        {"assessment_name": "x", "feedback": {"value": 1}, "source": {"source_type": "DOG"}},
        {"assessment_name": "x", "expectation": {}},
        {"assessment_name": "x", "expectation": {"serialized_value": {"value": "{"}}},
        {"assessment_name": "x", "feedback": {"value": 1}, "create_time": "yesterday"},
    ],
)
def test_a_judgement_that_says_too_little_or_too_much_is_refused(
    tracking_url: str, trace: str, wrong: dict[str, Any]
) -> None:
    answer = httpx2.post(path(tracking_url, trace), json={"assessment": wrong})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_judgement_of_no_trace_is_refused(tracking_url: str) -> None:
    body = {"assessment": {"assessment_name": "x", "feedback": {"value": 1}}}
    answer = httpx2.post(path(tracking_url, "tr-none"), json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "tr-%00", None),
        ("GET", "tr-%00/assessments/a-1", None),
        ("GET", "tr-1/assessments/a-%00", None),
        ("DELETE", "tr-%00/assessments/a-1", "{}"),
        ("PATCH", "tr-%00/tags", '{"key": "a", "value": "b"}'),
        ("PATCH", "TRACE/tags", '{"key": "\\ud800", "value": "b"}'),
        ("POST", "TRACE/assessments", '{"assessment": {"assessment_name": "x", "feedback": {"value": "\\ud800"}}}'),
        ("POST", "TRACE/assessments", '{"assessment": {"assessment_name": "x", "feedback": {"value": DEEP}}}'),
        ("POST", "delete-traces", '{"experiment_id": "0", "max_timestamp_millis": 99999999999999999999}'),
    ],
)
def test_what_no_database_keeps_is_refused(
    tracking_url: str, trace: str, method: str, path: str, body: str | None
) -> None:
    sent = None if body is None else body.replace("DEEP", "[" * 300 + "]" * 300)
    url = f"{tracking_url}/api/3.0/mlflow/traces/{path.replace('TRACE', trace)}"
    answer = httpx2.request(method, url, content=sent)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_half_characters_and_nul_are_replaced_where_a_text_may_be_anything(tracking_url: str, trace: str) -> None:
    tags = f"{tracking_url}/api/3.0/mlflow/traces/{trace}/tags"
    httpx2.patch(tags, content=b'{"key": "a", "value": "x\\ud800y\\u0000"}').raise_for_status()
    info = mlflow.MlflowClient()._tracing_client.get_trace_info(trace)
    assert info.tags["a"] == "x?y\ufffd"
