"""The Open Inference Protocol as real clients speak it: tritonclient, and JSON by hand."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.serving import models
from tests.serving.worker import Worker


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with a matrix model (stable 1, canary 2 at no share), a classifier, and a model of columns."""
    folder = tmp_path_factory.mktemp("served")
    arms = [models.arm(models.sum_model(folder / f"sum{n}", n), n) for n in (1, 2)]
    classes = models.arm(models.class_model(folder / "classes"), 5, name="iris")
    columns = models.arm(models.column_model(folder / "columns"), 3, name="people")
    worker = Worker(folder / "home")
    worker.publish(
        models.state(
            models.endpoint(arms[0], arms[1], 0.0),
            models.endpoint(classes, name="iris"),
            models.endpoint(columns, name="people"),
        )
    )
    worker.start()
    yield worker
    worker.kill()


@pytest.fixture
def client(served: Worker) -> Iterator[triton.InferenceServerClient]:
    """A tritonclient session."""
    made = triton.InferenceServerClient(f"127.0.0.1:{served.port}")
    yield made
    made.close()


def matrix(rows: list[list[float]], *, binary: bool) -> triton.InferInput:
    """The input X."""
    given = triton.InferInput("X", [len(rows), 3], "FP32")
    given.set_data_from_numpy(np.array(rows, dtype=np.float32), binary_data=binary)
    return given


def test_triton_sees_a_server_that_is_live_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("churn") and client.is_model_ready("churn", "2")
    assert not client.is_model_ready("churn", "9")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "mainspring"
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]


def test_triton_reads_the_metadata_of_a_model(client: triton.InferenceServerClient) -> None:
    told = client.get_model_metadata("iris")
    assert told["name"] == "iris" and told["versions"] == ["5"]
    assert told["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}]
    assert told["outputs"] == [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
    ]
    inputs = {one["name"]: one["datatype"] for one in client.get_model_metadata("people")["inputs"]}
    assert inputs == {"age": "FP64", "visits": "INT64", "city": "BYTES", "since": "INT64", "member": "BOOL"}


def test_triton_reads_the_repository_index(client: triton.InferenceServerClient) -> None:
    index = {(one["name"], one["version"], one["state"]) for one in client.get_model_repository_index()}
    assert index == {(*key, "READY") for key in (("churn", "1"), ("churn", "2"), ("iris", "5"), ("people", "3"))}


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
def test_triton_infers_with_binary_and_with_json_tensors(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    rows = [[1.0, 2.0, 9.0], [9.0, 2.0, 1.0]]
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("probabilities", "label")]
    found = client.infer("iris", [matrix(rows, binary=binary_in)], outputs=wanted, request_id="mine")
    assert found.get_response()["id"] == "mine"
    assert [one["name"] for one in found.get_response()["outputs"]] == ["probabilities", "label"]
    assert found.as_numpy("label").tolist() == [2, 0]
    assert found.as_numpy("label").dtype == np.int64
    np.testing.assert_allclose(found.as_numpy("probabilities").sum(axis=1), 1.0, rtol=1e-5)
    assert found.as_numpy("probabilities").shape == (2, 3)


def test_triton_gets_every_output_when_it_names_none(client: triton.InferenceServerClient) -> None:
    found = client.infer("iris", [matrix([[1.0, 2.0, 9.0]], binary=True)])
    assert found.as_numpy("label").tolist() == [2]
    assert found.as_numpy("probabilities").shape == (1, 3)


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_triton_may_compress_requests_and_ask_for_compressed_answers(
    client: triton.InferenceServerClient, kind: str
) -> None:
    rows = np.random.default_rng(0).normal(size=(3000, 3)).tolist()
    found = client.infer(
        "churn",
        [matrix(rows, binary=True)],
        request_compression_algorithm=kind,
        response_compression_algorithm=kind,
    )
    np.testing.assert_allclose(found.as_numpy("prediction").ravel(), np.sum(rows, axis=1) + 1000, rtol=1e-5)


def test_triton_sends_columns_of_every_type(client: triton.InferenceServerClient) -> None:
    data = {
        "age": ("FP64", np.array([30.0, 40.0])),
        "visits": ("INT64", np.array([1, 2])),
        "city": ("BYTES", np.array(["Bern", "Zürich"], dtype=object)),
        "since": ("INT64", np.array([0, 1])),
        "member": ("BOOL", np.array([True, False])),
    }
    for binary in (True, False):
        inputs = []
        for name, (kind, values) in data.items():
            given = triton.InferInput(name, [2], kind)
            given.set_data_from_numpy(values, binary_data=binary)
            inputs.append(given)
        assert client.infer("people", inputs).as_numpy("prediction").ravel().tolist() == [132.0, 42.0]


def test_an_explicit_version_is_answered_by_it(client: triton.InferenceServerClient) -> None:
    for version, value in (("1", 1006.0), ("2", 2006.0)):
        found = client.infer("churn", [matrix([[1, 2, 3]], binary=True)], model_version=version)
        assert found.as_numpy("prediction").tolist() == [[value]]
        assert found.get_response()["model_version"] == version


def test_triton_reads_our_errors(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="serves no version '9'; loaded: 1, 2") as refused:
        client.infer("churn", [matrix([[1, 2, 3]], binary=True)], model_version="9")
    assert refused.value.status() == "404"
    wrong = triton.InferInput("X", [1, 2], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 2), np.float32))
    with pytest.raises(InferenceServerException, match=r"shape \[1, 2\]; expected \[-1, 3\]") as refused:
        client.infer("churn", [wrong])
    assert refused.value.status() == "400"
    with pytest.raises(InferenceServerException, match="no output 'nothing'; expected one of prediction"):
        client.infer("churn", [matrix([[1, 2, 3]], binary=True)], outputs=[triton.InferRequestedOutput("nothing")])
    with pytest.raises(InferenceServerException, match="classification extension is not spoken"):
        client.infer(
            "iris", [matrix([[1, 2, 3]], binary=True)], outputs=[triton.InferRequestedOutput("label", class_count=1)]
        )


def test_triton_may_send_many_at_once(served: Worker) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{served.port}", concurrency=8) as many:
        asked = [many.async_infer("churn", [matrix([[n, 0, 0]], binary=True)]) for n in range(50)]
        assert [one.get_result().as_numpy("prediction")[0, 0] for one in asked] == [1000.0 + n for n in range(50)]


def test_an_answer_carries_its_prediction_id_version_release_and_arm(served: Worker) -> None:
    answer = served.post("/v2/models/churn/infer", models.inference([[1, 2, 3]], id="mine"))
    told = answer.json()
    assert told["id"] == "mine"
    assert (told["model_name"], told["model_version"]) == ("churn", "1")
    assert told["parameters"] == {
        "release": "release:churn@1",
        "arm": "stable",
        "prediction_id": answer.headers["x-prediction-id"],
    }
    without = served.post("/v2/models/churn/infer", models.inference([[1, 2, 3]])).json()
    assert without["id"] == without["parameters"]["prediction_id"]


def test_one_row_and_many_rows_are_answered_in_the_same_form(served: Worker) -> None:
    one = served.post("/v2/models/iris/infer", models.inference([[1, 2, 3]])).json()
    two = served.post("/v2/models/iris/infer", models.inference([[1, 2, 3], [1, 2, 3]])).json()
    assert set(one) == set(two)
    for single, double in zip(one["outputs"], two["outputs"], strict=True):
        assert single["data"] * 2 == double["data"]
        assert [2, *single["shape"][1:]] == double["shape"]


def test_a_hundred_requests_at_once_each_get_their_own_answer(served: Worker) -> None:
    async def ask_all() -> list[tuple[int, dict[str, Any]]]:
        async with httpx2.AsyncClient(base_url=served.url, timeout=30) as client:

            async def ask(number: int) -> tuple[int, dict[str, Any]]:
                body = models.inference([[number, 0, 0.5]], id=f"r{number}")
                answer = await client.post("/v2/models/churn/infer", json=body)
                return number, answer.json()

            return await asyncio.gather(*(ask(number) for number in range(100)))

    answers = asyncio.run(ask_all())
    assert len({told["parameters"]["prediction_id"] for _, told in answers}) == 100
    for number, told in answers:
        assert told["id"] == f"r{number}"
        assert told["outputs"][0]["data"] == [1000.5 + number]


def test_a_bad_row_among_good_ones_is_refused_alone(served: Worker) -> None:
    bad: list[Any] = [[1, 2, "x"], [1, 2, 1e39], [1, None, 2]]

    async def ask_all() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(base_url=served.url, timeout=30) as client:
            rows = [bad[n // 10 % 3] if n % 10 == 0 else [n, 0, 0] for n in range(100)]
            return await asyncio.gather(
                *(client.post("/v2/models/churn/infer", json=models.inference([row])) for row in rows)
            )

    for number, answer in enumerate(asyncio.run(ask_all())):
        if number % 10 == 0:
            assert answer.status_code == 400
            assert "column 'X', row" in answer.json()["error"]
        else:
            assert answer.json()["outputs"][0]["data"] == [1000.0 + number]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "is no inference request"),
        (b"[]", "is no inference request"),
        (b'{"inputs": []}', "missing 'X'"),
        (b'{"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32"}]}', "has no data"),
        (b'{"inputs": [{"name": "X", "shape": [1, 3], "data": [1, 2, 3]}]}', "datatype"),
        (b'{"inputs": [{"name": "X", "shape": [0, 3], "datatype": "FP32", "data": []}]}', "no rows"),
        (b'{"inputs": [{"name": "X", "shape": ["a"], "datatype": "FP32", "data": []}]}', "inputs[0].shape[0]"),
        (b'{"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, NaN]}]}', "send null"),
        (b'\xff\xfe{"inputs": []}', "is no inference request"),
        (b'{"inputs": [{"name": "X", "shape": [1], "datatype": "FP32", "data": ' + b"[" * 100_000, "recursion"),
        (b'{"inputs": [], "id": "\\ud800"}', "is no inference request"),
        (b'{"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 1e400]}]}', "out of range"),
    ],
)
def test_a_malformed_request_is_a_400_that_says_why(served: Worker, body: bytes, words: str) -> None:
    answer = httpx2.post(f"{served.url}/v2/models/churn/infer", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("size", "header", "words"),
    [
        (12, None, "is no inference request"),
        (12, "99999", "expected 0 to"),
        (12, "soon", "inference-header-content-length is 'soon'"),
        (8, "JSON", "8 bytes; expected 12"),
        (100, "JSON", "says 100 raw bytes, but 12 are left"),
    ],
)
def test_raw_tensors_that_do_not_add_up_are_refused(served: Worker, size: int, header: str | None, words: str) -> None:
    tensor = {"name": "X", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    body = json.dumps({"inputs": [tensor]}).encode()
    length = str(len(body)) if header == "JSON" else header
    headers = {} if length is None else {"inference-header-content-length": length}
    answer = httpx2.post(f"{served.url}/v2/models/churn/infer", content=body + bytes(12), headers=headers)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_a_compressed_bomb_is_refused(served: Worker) -> None:
    bomb = gzip.compress(bytes(64 * 2**20))
    answer = httpx2.post(f"{served.url}/v2/models/churn/infer", content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert "more than" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/churn/infer", "POST"),
        ("PUT", "/v2/models/churn/versions/1/infer", "POST"),
        ("POST", "/v2/models/churn", "GET, HEAD"),
        ("PUT", "/v2/health/live", "GET, HEAD"),
        ("DELETE", "/v2/repository/index", "POST, GET, HEAD"),
        ("GET", "/v2/endpoints/churn/labels", "POST"),
        ("GET", "/endpoints/churn/invocations", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
def test_a_method_that_an_address_does_not_take_is_a_405_that_names_those_it_takes(
    served: Worker, method: str, path: str, allowed: str
) -> None:
    answer = httpx2.request(method, f"{served.url}{path}", content=b"{}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert f"takes a {allowed}, not a {method}" in answer.text


def test_features_that_nobody_materialised_are_a_404(served: Worker) -> None:
    answer = served.post("/v2/features/feature_view:people@1/online", {"keys": ["a"]})
    assert answer.status_code == 404
    assert served.post("/v2/features/feature_view:people@1/online", {"keys": "a"}).status_code == 400


def test_event_time_must_be_a_time(served: Worker, tmp_path: Path) -> None:
    answer = served.post("/v2/models/churn/infer", models.inference([[1, 2, 3]], parameters={"event_time": "soon"}))
    assert answer.status_code == 400
    assert "event_time is 'soon'" in answer.json()["error"]
