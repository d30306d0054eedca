"""MLflow's scoring calls: the bodies that its clients write, and the answers that they read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest

from tests.serving import models
from tests.serving.worker import Worker

PEOPLE = pd.DataFrame(
    {
        "age": [30.0, None],
        "visits": [1, 2],
        "city": ["Bern", "Basel"],
        "since": pd.to_datetime(["2024-01-01", "2024-01-02"]),
        "member": [True, False],
    }
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with a classifier of a matrix and a model of columns."""
    folder = tmp_path_factory.mktemp("served")
    worker = Worker(folder / "home")
    classes = models.arm(models.class_model(folder / "classes"), 5, name="iris")
    columns = models.arm(models.column_model(folder / "columns"), 3, name="people")
    worker.publish(models.state(models.endpoint(classes, name="iris"), models.endpoint(columns, name="people")))
    worker.start()
    yield worker
    worker.kill()


def score(worker: Worker, name: str, body: Any) -> httpx2.Response:
    """Score one body."""
    return worker.post(f"/endpoints/{name}/invocations", body)


@pytest.mark.parametrize("orient", ["split", "records"])
def test_a_data_frame_is_scored_as_pandas_writes_it(served: Worker, orient: Any) -> None:
    text = PEOPLE.to_json(orient=orient, date_format="iso")
    form = "dataframe_split" if orient == "split" else "dataframe_records"
    answer = httpx2.post(
        f"{served.url}/endpoints/people/invocations",
        content=f'{{"{form}": {text}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 200
    assert answer.json()["predictions"] == [132.0, None]
    assert len(answer.headers["x-prediction-id"]) == 26


def test_mlflows_own_client_reads_the_answer(served: Worker) -> None:
    with warnings.catch_warnings():
        # What MLflow warns of while it is imported is no concern of ours.
        warnings.simplefilter("ignore")
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient
    client = ScoringServerClient("127.0.0.1", served.port)
    client.ping()
    client.url_prefix = f"{served.url}/endpoints/iris"
    found = client.invoke(pd.DataFrame(np.eye(3, dtype=float), columns=["p", "q", "r"])).get_predictions()
    assert found.to_numpy().ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 2, 9], [9, 2, 1]]},
        {"inputs": [[1, 2, 9], [9, 2, 1]]},
        {"inputs": {"X": [[1, 2, 9], [9, 2, 1]]}},
        {"instances": [{"X": [1, 2, 9]}, {"X": [9, 2, 1]}]},
        {"dataframe_split": {"data": [[1, 2, 9], [9, 2, 1]]}},
    ],
)
def test_tensors_come_in_every_form(served: Worker, body: dict[str, Any]) -> None:
    answer = score(served, "iris", body)
    assert answer.json()["predictions"] == [2, 0]
    assert len(answer.json()["probabilities"]) == 2


def test_inputs_by_column_are_scored(served: Worker) -> None:
    columns = {"age": [30.0], "visits": [1], "city": ["Basel"], "since": [0], "member": [False]}
    assert score(served, "people", {"inputs": columns}).json()["predictions"] == [231.0]
    single = {name: values[0] for name, values in columns.items()}
    assert score(served, "people", {"inputs": single}).json()["predictions"] == [231.0]


def test_csv_is_scored_with_the_types_of_the_signature(served: Worker) -> None:
    text = PEOPLE.assign(age=[30.5, 31.0]).to_csv(index=False)
    answer = httpx2.post(
        f"{served.url}/endpoints/people/invocations",
        content=text.encode(),
        headers={"content-type": "text/csv; charset=utf-8"},
    )
    assert answer.json()["predictions"] == [132.5, 233.0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"rows": [[1]]}, "none of dataframe_split, dataframe_records, instances, inputs"),
        ({"instances": [[1, 2, 3]], "inputs": [[1, 2, 3]]}, "instances and inputs"),
        ({"instances": []}, "no rows"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "columns a twice"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}, "row 0 has 1 values; expected 2"),
        ({"dataframe_records": [{"a": 1}, {"b": 2}]}, "record 0 has no b"),
        ({"dataframe_records": [{"age": 1}]}, "missing 'visits' (long), 'city' (string)"),
        ({"inputs": "text"}, "cannot be read"),
        ([1, 2], "cannot be read"),
    ],
)
def test_a_body_that_cannot_be_scored_is_a_400_that_says_why(served: Worker, body: Any, words: str) -> None:
    answer = score(served, "people", body)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert words in answer.json()["message"]


def test_a_bad_cell_of_a_csv_is_named(served: Worker) -> None:
    text = "age,visits,city,since,member\n30,1,Bern,0,true\nold,1,Bern,0,true\n"
    url = f"{served.url}/endpoints/people/invocations"
    answer = httpx2.post(url, content=text.encode(), headers={"content-type": "text/csv"})
    assert answer.status_code == 400
    assert "column 'age', row 1: came the text 'old'" in answer.json()["message"]
    assert httpx2.post(url, content=b"\xff\xfe", headers={"content-type": "text/csv"}).status_code == 400
    assert httpx2.post(url, content=b"", headers={"content-type": "text/csv"}).status_code == 400


def test_an_unknown_content_type_is_refused(served: Worker) -> None:
    url = f"{served.url}/endpoints/people/invocations"
    assert httpx2.post(url, content=b"x", headers={"content-type": "application/parquet"}).status_code == 415


def test_the_plain_path_needs_a_single_endpoint(served: Worker, worker: Worker, tmp_path: Any) -> None:
    answer = served.post("/invocations", {"instances": [[1, 2, 3]]})
    assert answer.status_code == 400
    assert "iris, people" in answer.json()["message"]
    assert score(served, "nobody", {"instances": [[1, 2, 3]]}).status_code == 404
    worker.publish(models.state(models.endpoint(models.arm(models.sum_model(tmp_path / "m")))))
    worker.start()
    assert worker.post("/invocations", {"instances": [[1, 2, 3]]}).json() == {"predictions": [1006.0]}


def test_the_answer_names_version_and_arm(served: Worker) -> None:
    answer = score(served, "iris", {"instances": [[1, 2, 3]]})
    assert (answer.headers["x-model-version"], answer.headers["x-arm"]) == ("5", "stable")
