"""Histories of metrics come whole, in pages, of many runs at once, and thinned for a chart."""

from __future__ import annotations

import uuid

import httpx2
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

API = "/api/2.0/mlflow/metrics"


@pytest.fixture(scope="module")
def client(tracking_url: str) -> MlflowClient:
    return MlflowClient(tracking_url)


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> list[str]:
    """Two runs with 3,000 and 10 points of ``m``."""
    experiment = client.create_experiment(f"metrics {uuid.uuid4()}")
    ids = [client.create_run(experiment).info.run_id for _ in range(2)]
    for start in range(0, 3_000, 1_000):
        client.log_batch(ids[0], [Metric("m", at / 2, at, at) for at in range(start, start + 1_000)])
    client.log_batch(ids[1], [Metric("m", at, at, 0) for at in range(10)])
    return ids


def asked(url: str, call: str, **query: object) -> list[dict[str, object]]:
    answer = httpx2.get(f"{url}{call}", params=query)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return list(answer.json().get("metrics", []))


def test_a_history_is_whole_and_in_order(client: MlflowClient, runs: list[str]) -> None:
    found = client.get_metric_history(runs[0], "m")
    assert [(point.step, point.timestamp, point.value) for point in found] == [(at, at, at / 2) for at in range(3_000)]
    assert client.get_metric_history(runs[0], "nothing") == []
    assert client.get_metric_history("nobody", "m") == []


def test_a_history_is_read_in_pages(tracking_url: str, runs: list[str]) -> None:
    seen: list[int] = []
    token: str | None = ""
    while token is not None:
        query = {"run_id": runs[0], "metric_key": "m", "max_results": 1_300, "page_token": token}
        page = httpx2.get(f"{tracking_url}{API}/get-history", params=query).json()
        assert len(page["metrics"]) <= 1_300
        seen += [point["step"] for point in page["metrics"]]
        token = page.get("next_page_token")
    assert seen == list(range(3_000))


def test_histories_of_several_runs_come_run_by_run(tracking_url: str, runs: list[str]) -> None:
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    found = asked(tracking_url, path, run_id=runs, metric_key="m")
    order = [str(point["run_id"]) for point in found]
    assert order == sorted(order)
    assert [sum(point["run_id"] == run for point in found) for run in runs] == [3_000, 10]
    assert len(asked(tracking_url, path, run_id=runs, metric_key="m", max_results=7)) == 7
    assert asked(tracking_url, path, run_id=["nobody"], metric_key="m") == []


def test_a_chart_gets_as_many_points_as_it_has_room_for(tracking_url: str, runs: list[str]) -> None:
    path = f"{API}/get-history-bulk-interval"
    found = asked(tracking_url, path, run_ids=runs, metric_key="m", max_results=320)
    steps = [point["step"] for point in found if point["run_id"] == runs[0]]
    # As MLflow's server has them: where each of 320 equal parts begins, and the end of the last one.
    assert steps == [*(int(part[0]) for part in np.array_split(range(3_000), 320)[:-1]), 2_999]
    assert [point["value"] for point in found if point["run_id"] == runs[1]] == [float(at) for at in range(10)]


def test_a_chart_may_ask_for_some_steps(tracking_url: str, runs: list[str]) -> None:
    path = f"{API}/get-history-bulk-interval"
    query = {"run_ids": [runs[0]], "metric_key": "m", "start_step": 100, "end_step": 200}
    found = asked(tracking_url, path, **query, max_results=5)
    assert [point["step"] for point in found] == [100, 121, 141, 161, 200]
    assert [point["step"] for point in asked(tracking_url, path, **query, max_results=1)] == [200]
    assert len(asked(tracking_url, path, **query)) == 101


def test_points_of_one_step_are_thinned_too(client: MlflowClient, tracking_url: str, runs: list[str]) -> None:
    path = f"{API}/get-history-bulk-interval"
    found = asked(tracking_url, path, run_ids=[runs[1]], metric_key="m", max_results=2)
    assert [point["value"] for point in found] == [0, 9]
    found = asked(tracking_url, path, run_ids=[runs[1]], metric_key="m", max_results=3)
    assert [point["value"] for point in found] == [0, 4, 9]


@pytest.mark.parametrize(
    ("call", "query", "message"),
    [
        ("get-history", {"run_id": "r"}, "metric_key"),
        ("get-history", {"metric_key": "m"}, "run_id"),
        ("get-history", {"run_id": "r", "metric_key": "m", "max_results": 0}, "max_results"),
        ("get-history", {"run_id": "r", "metric_key": "m", "max_results": 5, "page_token": "?"}, "page"),
        ("get-history-bulk", {"metric_key": "m"}, "run_id"),
        ("get-history-bulk", {"metric_key": "m", "run_id": ["r"] * 101}, "more than 100"),
        ("get-history-bulk", {"run_id": "r"}, "metric_key"),
        ("get-history-bulk-interval", {"metric_key": "m"}, "run_ids"),
        ("get-history-bulk-interval", {"run_ids": "r", "metric_key": "m", "max_results": 2_501}, "2500"),
        ("get-history-bulk-interval", {"run_ids": ["r"] * 101, "metric_key": "m"}, "at most 100 run_ids."),
        ("get-history-bulk-interval", {"run_ids": "r", "metric_key": "m", "start_step": 1}, "both must be specified"),
        (
            "get-history-bulk-interval",
            {"run_ids": "r", "metric_key": "m", "start_step": 2, "end_step": 1},
            "end_step must be greater",
        ),
    ],
)
def test_a_malformed_request_is_told_so(tracking_url: str, call: str, query: dict[str, str], message: str) -> None:
    answer = httpx2.get(f"{tracking_url}{API}/{call}", params=query)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert message in answer.json()["message"]


def test_an_address_may_name_more_runs_than_are_allowed(tracking_url: str) -> None:
    many = [f"0123456789abcdef0123456789abcdef{number:04}" for number in range(1_000)]
    for path, name in ((f"{API}/get-history-bulk-interval", "run_ids"), (f"{API}/get-history-bulk", "run_id")):
        reply = httpx2.get(tracking_url + path, params={name: many, "metric_key": "m"})
        assert reply.status_code == 400, reply.text
        assert "100 run_ids" in reply.json()["message"]
