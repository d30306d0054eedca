"""MLflow's client opens, changes and finds issues here as with its own server."""

from __future__ import annotations

from typing import Any

import httpx2
import mlflow
import pytest
from mlflow.entities import AssessmentSource, IssueReference
from mlflow.entities.issue import IssueSeverity, IssueStatus
from mlflow.exceptions import MlflowException

pytestmark = pytest.mark.filterwarnings("ignore")


def store() -> Any:
    return mlflow.MlflowClient()._tracing_client.store


def test_issues_are_opened_changed_and_found(traced_experiment: str) -> None:
    made = store().create_issue(
        traced_experiment,
        "slow",
        "it takes long",
        severity=IssueSeverity.HIGH,
        root_causes=["disk"],
        categories=["latency"],
        created_by="me",
    )
    assert store().get_issue(made.issue_id) == made
    assert (made.status, made.severity, made.root_causes) == (IssueStatus.PENDING, IssueSeverity.HIGH, ["disk"])
    changed = store().update_issue(made.issue_id, status=IssueStatus.RESOLVED, severity=IssueSeverity.LOW)
    assert (changed.name, changed.status, changed.severity) == ("slow", IssueStatus.RESOLVED, IssueSeverity.LOW)
    other = store().create_issue(traced_experiment, "wrong", "it errs")
    found = store().search_issues(experiment_id=traced_experiment, max_results=1)
    assert [one.issue_id for one in found] == [made.issue_id]
    rest = store().search_issues(experiment_id=traced_experiment, max_results=1, page_token=found.token)
    assert [one.issue_id for one in rest] == [other.issue_id] and rest.token is None
    pending = store().search_issues(experiment_id=traced_experiment, filter_string="status = 'pending'")
    assert [one.issue_id for one in pending] == [other.issue_id]
    with pytest.raises(MlflowException, match="not found") as gone:
        store().get_issue("iss-none")
    assert gone.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_traces_show_issues(traced_experiment: str) -> None:
    @mlflow.trace
    def answer() -> None:
        return None

    answer()
    trace = mlflow.get_last_active_trace_id()
    made = store().create_issue(traced_experiment, "empty", "nothing is said")
    shown = IssueReference(issue_id=made.issue_id, issue_name="empty", source=AssessmentSource("CODE"))
    mlflow.log_assessment(trace_id=trace, assessment=shown)
    (counted,) = store().search_issues(experiment_id=traced_experiment, include_trace_count=True)
    assert counted.trace_count == 1
    found = mlflow.search_traces(
        locations=[traced_experiment], filter_string=f"issue.id = '{made.issue_id}'", return_type="list"
    )
    assert [one.info.trace_id for one in found] == [trace]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"description": ""},
        {"status": "odd"},
        {"severity": "odd"},
        {"experiment_id": "none"},
        {"name": None},
    ],
    ids=str,
)
def test_what_is_no_issue_is_refused(tracking_url: str, wrong: dict[str, Any]) -> None:
    body = {"experiment_id": "0", "name": "a", "description": "b"} | wrong
    answer = httpx2.post(f"{tracking_url}/api/3.0/mlflow/issues", json=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


def test_health_is_told_as_mlflow_tells_it_and_as_json_to_who_asks_for_that(tracking_url: str) -> None:
    plain = httpx2.get(f"{tracking_url}/health")
    assert (plain.status_code, plain.text) == (200, "OK")
    asked = httpx2.get(f"{tracking_url}/health", headers={"accept": "application/json"})
    assert asked.json() == {"status": "ok"}
