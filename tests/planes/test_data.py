"""One data worker: what it imports, what it serves, and what it survives."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import psutil
import pytest
from onnx import TensorProto, helper

from tests.serving import models
from tests.serving.worker import Worker, until

FORBIDDEN = ["sqlalchemy", "pandas", "pydantic", "starlette", "polars", "deltalake", "pyarrow", "alembic"]


def test_importing_the_data_plane_loads_nothing_heavy() -> None:
    code = "import json, sys, mainspring.planes.data; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in json.loads(told)}
    assert loaded & set(FORBIDDEN) == set()


def test_serving_loads_nothing_heavy_either(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    told = "print(json.dumps([*sys.modules]))"
    code = f"import json, sys; from mainspring.planes.data import main; main(sys.argv[1:]); {told}"
    command = [sys.executable, "-c", code, "--home", str(worker.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
            served = httpx2.post(f"{url}/v2/models/churn/infer", json=models.inference([[1, 2, 3]]), timeout=20)
            httpx2.post(f"{url}/invocations", json={"inputs": [[1, 2, 3]]}, timeout=20)
            httpx2.get(f"{url}/metrics", timeout=20)
        finally:
            process.terminate()
        loaded = {name.partition(".")[0] for name in json.loads(process.stdout.readline())}
    assert served.status_code == 200
    assert "onnxruntime" in loaded
    assert loaded & set(FORBIDDEN) == set()


def test_a_worker_without_a_snapshot_is_ready_and_serves_the_first_one(worker: Worker, tmp_path: Path) -> None:
    worker.start()
    assert worker.get("/v2/health/ready").status_code == 200
    answer = worker.post("/v2/models/churn/infer", models.inference([[1, 2, 3]]))
    assert answer.status_code == 404
    assert "no endpoint 'churn'" in answer.json()["error"]
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    assert worker.post("/v2/models/churn/infer", models.inference([[1, 2, 3]])).status_code == 200


def test_a_worker_starts_from_the_last_snapshot_with_nobody_else_there(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start()
    answer = worker.post("/v2/models/churn/infer", models.inference([[1, 2, 3]])).json()
    assert answer["outputs"][0]["data"] == [1006.0]
    assert worker.get("/health").json()["status"] == "ok"


def test_every_answer_is_in_the_log_even_when_the_worker_is_killed(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m"), 3))))
    worker.start()
    answered: list[str] = []

    def ask() -> None:
        with httpx2.Client(base_url=worker.url, timeout=5) as client:
            while True:
                try:
                    answer = client.post("/v2/models/churn/infer", json=models.inference([[1, 2, 3]]))
                except httpx2.HTTPError:
                    return
                answered.append(answer.json()["id"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 200, "too few answers came")
    worker.kill()
    for thread in threads:
        thread.join()
    logged = {item.id for batch in worker.predictions() for item in batch.items}
    assert set(answered) <= logged


def test_the_log_says_all_about_a_prediction(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.column_model(tmp_path / "m"), 7))))
    worker.start()
    body = {
        "dataframe_split": {
            "columns": ["age", "visits", "city", "since", "member"],
            "data": [[30, 2, "Bern", "2024-01-01", True], [None, 1, None, 0, False]],
        },
        "params": {"unit": "u1", "event_time": "2024-02-03T04:05:06Z"},
    }
    answer = worker.post("/invocations", body)
    worker.stop()
    (batch,) = worker.predictions()
    assert (batch.endpoint, batch.model, batch.release, batch.arm) == (
        "churn",
        "model:churn@7",
        "release:churn@7",
        "stable",
    )
    assert (batch.names, batch.output_names) == (["age", "visits", "city", "since", "member"], ["prediction"])
    (item,) = batch.items
    assert item.id == answer.headers["x-prediction-id"]
    assert (item.unit, item.event_us, item.status, item.rows) == ("u1", 1706933106000000, 200, 2)
    assert item.values == [[30, None], [2, 1], ["Bern", None], [1704067200000, 0], [True, False]]
    assert item.outputs[0][0] == [133.0]
    assert 0 < item.latency_us < 10_000_000


def test_a_refused_request_is_logged_with_its_reason(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start()
    answer = worker.post("/v2/models/churn/infer", models.inference([[1, 2, "x"]]))
    assert answer.status_code == 400
    worker.stop()
    (batch,) = worker.predictions()
    assert [(item.status, item.outputs) for item in batch.items] == [(400, [])]
    assert batch.items[0].id == answer.headers["x-prediction-id"]
    assert "the text 'x'" in str(batch.items[0].error)


def test_no_acknowledged_label_is_lost_by_a_kill(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start()
    accepted: list[str] = []

    def label(who: int) -> None:
        with httpx2.Client(base_url=worker.url, timeout=5) as client:
            for number in range(100_000):
                one = f"{who}-{number}"
                try:
                    answer = client.post("/v2/endpoints/churn/labels", json={"labels": [{"id": one, "value": number}]})
                except httpx2.HTTPError:
                    return
                if answer.json() == {"accepted": 1}:
                    accepted.append(one)

    threads = [threading.Thread(target=label, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(accepted) > 50, "too few labels were accepted")
    worker.kill()
    for thread in threads:
        thread.join()
    assert set(accepted) <= {fact.id for fact in worker.labels()}


def test_labels_that_cannot_be_read_are_refused_whole(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start()
    for body in ({"labels": [{"id": "a"}]}, {"labels": [{"id": "", "value": 1}]}, [1], {"labels": [{"value": 1}]}):
        assert worker.post("/v2/endpoints/churn/labels", body).status_code == 400
    assert worker.post("/v2/endpoints/nobody/labels", {"labels": []}).status_code == 404
    worker.stop()
    assert worker.labels() == []


def test_a_swap_under_load_fails_no_request(worker: Worker, tmp_path: Path) -> None:
    folders = {version: models.sum_model(tmp_path / f"m{version}", version) for version in (1, 2)}
    arms = {version: models.arm(folder, version) for version, folder in folders.items()}
    worker.publish(models.state(models.endpoint(arms[1])))
    worker.start()
    statuses: list[tuple[int, str, float]] = []
    going = threading.Event()
    going.set()

    def ask() -> None:
        with httpx2.Client(base_url=worker.url, timeout=20) as client:
            while going.is_set():
                answer = client.post("/v2/models/churn/infer", json=models.inference([[1, 2, 3]]))
                told = answer.json()
                value = told["outputs"][0]["data"][0] if answer.status_code == 200 else 0.0
                statuses.append((answer.status_code, str(told.get("model_version")), value))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in (2, 1, 2, 1, 2):
        worker.publish(models.state(models.endpoint(arms[version])))
        seen = len(statuses)
        until(lambda seen=seen: len(statuses) > seen + 20, "the load stopped")  # type: ignore[misc]
    worker.publish(models.state(models.endpoint(arms[1], arms[2], 0.5)))
    seen = len(statuses)
    until(lambda: len(statuses) > seen + 50, "the load stopped")
    going.clear()
    for thread in threads:
        thread.join()
    assert {status for status, _, _ in statuses} == {200}
    assert {(version, value) for _, version, value in statuses} == {("1", 1006.0), ("2", 2006.0)}


def test_a_model_that_does_not_load_leaves_the_old_one_on_and_is_reported(worker: Worker, tmp_path: Path) -> None:
    good = models.arm(models.sum_model(tmp_path / "good"))
    broken = models.arm(models.sum_model(tmp_path / "bad"), 2)
    (tmp_path / "bad" / "model.onnx").write_bytes(b"nonsense")
    worker.publish(models.state(models.endpoint(good)))
    worker.start()
    version = worker.publish(models.state(models.endpoint(broken), models.endpoint(good, name="other")), wait=False)
    until(lambda: worker.get("/health").json()["snapshot"] == version, "the snapshot was not taken up")
    health = worker.get("/health").json()
    assert health["status"] == "degraded"
    assert "does not load" in health["failures"][0]["reason"]
    answers = [worker.post(f"/v2/models/{name}/infer", models.inference([[1, 2, 3]])) for name in ("churn", "other")]
    assert [answer.json()["model_version"] for answer in answers] == ["1", "1"]
    index = {(one["name"], one["version"]): one["state"] for one in worker.post("/v2/repository/index").json()}
    assert index == {("churn", "1"): "READY", ("other", "1"): "READY", ("churn", "2"): "UNAVAILABLE"}
    # It is the broken endpoint that is not acknowledged; what follows is, although that one still fails.
    worker.publish(models.state(models.endpoint(broken), models.endpoint(good, name="third")))


def test_a_unit_keeps_its_arm_and_the_shares_are_kept(worker: Worker, tmp_path: Path) -> None:
    arms = [models.arm(models.sum_model(tmp_path / f"m{n}", n), n) for n in (1, 2)]
    worker.publish(models.state(models.endpoint(arms[0], arms[1], 0.2)))
    worker.start()

    def canaries() -> set[str]:
        with httpx2.Client(base_url=worker.url, timeout=20) as client:
            body = models.inference([[1, 2, 3]])
            arm = {
                f"user-{n}": client.post("/v2/models/churn/infer", json=body, headers={"x-user": f"user-{n}"}).json()
                for n in range(300)
            }
        return {user for user, answer in arm.items() if answer["parameters"]["arm"] == "canary"}

    few = canaries()
    assert canaries() == few
    assert 30 < len(few) < 90
    worker.publish(models.state(models.endpoint(arms[0], arms[1], 0.5)))
    more = canaries()
    assert few < more
    assert 110 < len(more) < 190
    # The same unit named in the parameters goes the same way.
    one = sorted(few)[0]
    body = models.inference([[1, 2, 3]], parameters={"unit": one})
    assert worker.post("/v2/models/churn/infer", body).json()["parameters"]["arm"] == "canary"


def test_overload_is_refused_early_with_retry_after(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start("--max-waiting-rows", "0")
    for path, body in (
        ("/v2/models/churn/infer", models.inference([[1, 2, 3]])),
        ("/invocations", {"instances": [[1, 2, 3]]}),
    ):
        answer = worker.post(path, body)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"


def test_a_log_that_cannot_be_written_refuses_predictions(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start("--spool-max-bytes", "2000")
    statuses = [worker.post("/v2/models/churn/infer", models.inference([[1, 2, 3]])).status_code for _ in range(40)]
    assert statuses[0] == 200
    assert statuses[-1] == 503
    served = statuses.count(200)
    worker.stop()
    assert sum(len(batch.items) for batch in worker.predictions()) == served


def test_a_model_with_code_of_its_own_is_served_from_a_child(worker: Worker, tmp_path: Path) -> None:
    folder = models.pickled(tmp_path / "m", models.Sulky())
    arm = models.arm(folder, engine="process", signature=models.PICKLED, trusted=True)
    worker.publish(models.state(models.endpoint(arm)))
    worker.start()

    def ask(a: float) -> httpx2.Response:
        return worker.post("/invocations", {"dataframe_records": [{"a": a, "b": 1.0}]})

    assert ask(1.0).json() == {"predictions": [2.0]}
    failed = ask(13.0)
    assert failed.status_code == 500
    assert "thirteen" in failed.json()["message"]
    assert ask(99.0).status_code == 503
    assert ask(2.0).json() == {"predictions": [3.0]}
    assert ask(55.0).json() == {"predictions": [0.0]}
    assert worker.stop() == 0


def test_an_output_that_is_not_one_entry_a_row_is_an_error_not_a_mixed_answer(worker: Worker, tmp_path: Path) -> None:
    folder = models._save(
        tmp_path / "m",
        [helper.make_node("ReduceSum", ["X"], ["total"], keepdims=0)],
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("total", TensorProto.FLOAT, [])],
        [],
    )
    worker.publish(models.state(models.endpoint(models.arm(folder))))
    worker.start()
    answer = worker.post("/v2/models/churn/infer", models.inference([[1, 2, 3], [4, 5, 6]]))
    assert answer.status_code == 500
    assert "'total' has not one entry for each of the 2 rows" in answer.json()["error"]
    worker.stop()
    assert [item.status for batch in worker.predictions() for item in batch.items] == [500]


def test_the_child_of_a_model_ends_once_another_took_its_place(worker: Worker, tmp_path: Path) -> None:
    folder = models.pickled(tmp_path / "m", models.Sulky())
    arm = models.arm(folder, engine="process", signature=models.PICKLED, trusted=True)
    worker.publish(models.state(models.endpoint(arm)))
    worker.start()
    (child,) = psutil.Process(worker.pid).children()
    # The same model as another arm is the same child; a state without it ends it.
    worker.publish(models.state(models.endpoint(arm, arm, 0.5)))
    assert psutil.Process(worker.pid).children() == [child]
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "sum"), 2))))
    until(lambda: not psutil.Process(worker.pid).children(), "the child was left running")


def test_a_pickle_from_an_unknown_origin_is_not_loaded(worker: Worker, tmp_path: Path) -> None:
    folder = models.pickled(tmp_path / "m", models.Sulky())
    worker.publish(models.state(models.endpoint(models.arm(folder, engine="process", signature=models.PICKLED))))
    worker.start()
    assert "trust" in worker.get("/health").json()["failures"][0]["reason"]


def test_a_second_worker_of_the_same_name_does_not_start(worker: Worker, tmp_path: Path) -> None:
    worker.start()
    command = [sys.executable, "-m", "mainspring.planes.data", "--home", str(worker.home), "--worker", worker.name]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "another process writes" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_two_workers_share_a_port(tmp_path: Path) -> None:
    one, two = Worker(tmp_path / "home", "data-0"), Worker(tmp_path / "home", "data-1")
    try:
        one.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
        one.start()
        two.start("--port", str(one.port))
        pids = set()
        until(
            lambda: pids.add(httpx2.get(f"{one.url}/health").json()["pid"]) or len(pids) == 2,  # type: ignore[func-returns-value]
            "one worker got every connection",
        )
        assert pids == {one.pid, two.pid}
    finally:
        one.kill()
        two.kill()


def test_a_worker_with_one_onnx_model_is_small(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.class_model(tmp_path / "m")))))
    worker.start()
    with httpx2.Client(base_url=worker.url, timeout=20) as client:
        for _ in range(200):
            client.post("/v2/models/churn/infer", json=models.inference([[1, 2, 3]]))
    assert psutil.Process(worker.pid).memory_info().rss < 90 * 2**20


def test_metrics_count_requests_by_endpoint_arm_and_status(worker: Worker, tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start()
    worker.post("/v2/models/churn/infer", models.inference([[1, 2, 3], [1, 2, 3]]))
    worker.post("/v2/models/churn/infer", models.inference([[1, 2, "x"]]))
    answer = worker.get("/metrics")
    samples = {
        (sample.name, sample.labels.get("status"), sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["mainspring_requests_total", "200", None] == 1
    assert samples["mainspring_requests_total", "400", None] == 1
    assert samples["mainspring_rows_total", None, None] == 2
    assert samples["mainspring_request_seconds_bucket", None, "+Inf"] == 1
    assert samples["mainspring_request_seconds_count", None, None] == 1


@pytest.mark.parametrize("path", ["/", "/nothing", "/v2/nothing", "/v2/models", "/v2/models/churn/explain"])
def test_an_unknown_path_is_a_404_with_a_reason(worker: Worker, path: str) -> None:
    worker.start()
    answer = worker.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_sigterm_drains_and_leaves_nothing_open(worker: Worker, tmp_path: Path) -> None:
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start()
    worker.post("/v2/models/churn/infer", models.inference([[1, 2, 3]]))
    assert worker.stop() == 0
    assert sum(len(batch.items) for batch in worker.predictions()) == 1
