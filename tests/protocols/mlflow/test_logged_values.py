"""What MLflow's client logs is kept within MLflow's limits, whole batches or nothing."""

from __future__ import annotations

import math
import uuid

import httpx2
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

API = "/api/2.0/mlflow/runs"


@pytest.fixture
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture
def run(client: MlflowClient) -> str:
    """The id of a run that only this test uses."""
    return str(client.create_run(client.create_experiment(f"values {uuid.uuid4()}")).info.run_id)


def test_a_param_is_written_once(client: MlflowClient, run: str) -> None:
    client.log_param(run, "lr", 0.1)
    client.log_param(run, "lr", 0.1)
    with pytest.raises(MlflowException) as refused:
        client.log_param(run, "lr", 0.2)
    said = "Changing param values is not allowed. Param with key='lr' was already logged with value='0.1'"
    assert said in refused.value.message
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(MlflowException, match="Changing param values"):
        client.log_batch(run, params=[Param("new", "1"), Param("lr", "9")], tags=[RunTag("t", "1")])
    found = client.get_run(run).data
    assert found.params == {"lr": "0.1"}
    assert "t" not in found.tags


def test_long_values_are_cut_as_clients_expect(client: MlflowClient, run: str) -> None:
    client.log_param(run, "p", "x" * 6_001)
    client.set_tag(run, "t", "y" * 8_001)
    found = client.get_run(run).data
    assert (len(found.params["p"]), len(found.tags["t"])) == (6_000, 8_000)


def test_tags_are_replaced_and_removed(client: MlflowClient, run: str) -> None:
    client.set_tag(run, "a", 1)
    client.set_tag(run, "a", 2)
    client.log_batch(run, tags=[RunTag("b", "1"), RunTag("b", "2")])
    client.set_tag(run, "empty", "")
    found = client.get_run(run).data.tags
    assert (found["a"], found["b"], found["empty"]) == ("2", "2", "")
    client.delete_tag(run, "a")
    assert "a" not in client.get_run(run).data.tags
    with pytest.raises(MlflowException) as refused:
        client.delete_tag(run, "a")
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_numbers_that_are_not_finite_come_back(client: MlflowClient, run: str) -> None:
    client.log_batch(
        run, [Metric("nan", math.nan, 1, 0), Metric("inf", math.inf, 1, 0), Metric("neg", -math.inf, 1, 0)]
    )
    client.log_metric(run, "alone", math.nan)
    found = client.get_run(run).data.metrics
    assert math.isnan(found["nan"]) and math.isnan(found["alone"])
    assert (found["inf"], found["neg"]) == (math.inf, -math.inf)


def test_literals_that_json_does_not_have_are_read(client: MlflowClient, run: str, tracking_url: str) -> None:
    body = b'{"run_id": "%s", "key": "m", "value": NaN, "timestamp": "1", "step": "2"}' % run.encode()
    assert httpx2.post(f"{tracking_url}{API}/log-metric", content=body).json() == {}
    (point,) = client.get_metric_history(run, "m")
    assert math.isnan(point.value)
    assert (point.timestamp, point.step) == (1, 2)


def test_the_latest_value_is_that_of_the_greatest_step_time_and_value(client: MlflowClient, run: str) -> None:
    for value, timestamp, step in ((5, 10, 1), (1, 20, 2), (2, 20, 2), (9, 5, 2), (7, 99, 0)):
        client.log_metric(run, "m", value, timestamp, step)
    assert client.get_run(run).data.metrics["m"] == 2


def test_exact_duplicates_of_a_point_are_one(client: MlflowClient, run: str) -> None:
    for _ in range(2):
        client.log_batch(run, [Metric("m", 1, 1, 1), Metric("m", 1, 1, 1), Metric("m", 2, 1, 1)])
    assert [point.value for point in client.get_metric_history(run, "m")] == [1, 2]


def test_a_client_of_long_ago_names_the_run_by_its_uuid(client: MlflowClient, run: str, tracking_url: str) -> None:
    for call, body in (
        ("log-metric", {"key": "m", "value": 1, "timestamp": 1}),
        ("log-parameter", {"key": "p", "value": "1"}),
        ("set-tag", {"key": "t", "value": "1"}),
        ("update", {"status": 3}),
    ):
        assert httpx2.post(f"{tracking_url}{API}/{call}", json={"run_uuid": run, **body}).status_code == 200
    found = client.get_run(run)
    assert (found.data.metrics, found.data.params, found.info.status) == ({"m": 1.0}, {"p": "1"}, "FINISHED")


POINT = {"key": "m", "value": 1, "timestamp": 1}


@pytest.mark.parametrize(
    ("call", "body", "message"),
    [
        ("log-metric", {"key": "m", "timestamp": 1}, "Missing value for required parameter 'value'"),
        ("log-metric", {"key": "m", "value": 1}, "Missing value for required parameter 'timestamp'"),
        ("log-metric", {"value": 1, "timestamp": 1}, "Missing value for required parameter 'key'"),
        ("log-metric", POINT | {"value": "much"}, "Invalid value 'much'"),
        ("log-metric", POINT | {"value": True}, "Invalid value true for parameter 'value' supplied"),
        ("log-metric", POINT | {"key": 31}, "Invalid value 31 for parameter 'key' supplied"),
        ("log-metric", POINT | {"key": None}, "Missing value for required parameter 'key'"),
        ("log-metric", POINT | {"step": "foo"}, "Invalid value \"foo\" for parameter 'step' supplied"),
        ("log-metric", POINT | {"run_id": None}, "Missing value for required parameter 'run_id'"),
        ("set-tag", {"key": "a", "value": 41}, "Invalid value 41 for parameter 'value' supplied"),
        ("log-metric", POINT | {"timestamp": -1}, "negative"),
        ("log-metric", POINT | {"timestamp": 2**62}, "64 bits"),
        ("log-metric", POINT | {"step": 2**63}, "64 bits"),
        ("log-metric", POINT | {"key": ""}, "Invalid value"),
        ("log-metric", POINT | {"key": "a" * 251}, "250"),
        ("log-metric", POINT | {"key": "../up"}, "Invalid value"),
        ("log-metric", POINT | {"key": "a//b"}, "Invalid value"),
        ("log-parameter", {"key": "a\nb", "value": "1"}, "Invalid value"),
        ("set-tag", {"key": "/a", "value": "1"}, "Invalid value"),
        ("set-tag", {"key": "a", "value": "\0"}, "NUL"),
        ("log-batch", {"metrics": [POINT] * 1_001}, "at most 1000 metrics. Got 1001"),
        ("log-batch", {"params": [{"key": f"p{at}", "value": ""} for at in range(101)]}, "at most 100 params"),
        ("log-batch", {"tags": [{"key": f"p{at}", "value": ""} for at in range(101)]}, "at most 100 tags"),
        (
            "log-batch",
            {"metrics": [POINT] * 950, "tags": [{"key": f"t{at}", "value": ""} for at in range(51)]},
            "at most 1000 metrics, params, and tags. Got 1001",
        ),
        ("log-batch", {"params": [{"key": "p", "value": "1"}] * 2}, "Duplicate parameter keys have been submitted"),
        ("log-batch", {"metrics": [{"key": "m", "timestamp": 1}]}, "required parameter 'metrics[0].value'"),
        ("log-batch", {"metrics": "foo"}, "Invalid value \"foo\" for parameter 'metrics' supplied"),
        ("log-batch", {"params": [{"key": 7}]}, "Invalid value 7 for parameter 'params[0].key' supplied"),
        ("log-batch", {"run_id": 7}, "Invalid value 7 for parameter 'run_id' supplied"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    client: MlflowClient, run: str, tracking_url: str, call: str, body: dict[str, object], message: str
) -> None:
    answer = httpx2.post(f"{tracking_url}{API}/{call}", json={"run_id": run, **body})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert message in answer.json()["message"]
    assert client.get_run(run).data.metrics == {}


def test_a_run_that_is_not_there_is_told_so(tracking_url: str) -> None:
    answer = httpx2.post(f"{tracking_url}{API}/log-metric", json={"run_id": "nobody", **POINT})
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
