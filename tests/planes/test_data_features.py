"""The data worker reads materialised features, for clients and to fill what a request leaves out."""

from __future__ import annotations

from pathlib import Path

from mainspring.features.online import StoredRow, StoredView, encode_row, encode_view, row_key, view_key
from mainspring.serving.model import FeatureBinding
from mainspring.storage.kv.store import open_kv
from tests.serving import models
from tests.serving.worker import Worker

VIEW = "feature_view:people@1"


def materialise(home: Path) -> None:
    """Write the features of two users as the feature store does."""
    store = open_kv(f"lmdb://{home / 'kv'}")
    names = ["age", "visits", "city", "since", "member"]
    rows = {"u1": [30.0, 4, "Bern", 1704067200000, True], "u2": [None, 5, None, None, False]}
    items = [(view_key(VIEW), encode_view(StoredView(VIEW, ["user"], names, [10**6, None, None, None, None], 1)))]
    items += [(row_key(VIEW, [user]), encode_row(StoredRow(1, 1, values))) for user, values in rows.items()]
    store.put_many(items)
    store.close()


def test_features_are_read_by_key(worker: Worker) -> None:
    materialise(worker.home)
    worker.start()
    answer = worker.post(f"/v2/features/{VIEW}/online", {"keys": ["u2", "nobody", ["u1"]]})
    assert answer.status_code == 200
    found = answer.json()
    assert found["view"] == VIEW
    assert found["rows"][0] == {"age": None, "visits": 5, "city": None, "since": None, "member": False}
    assert found["rows"][1] is None
    assert found["rows"][2]["city"] == "Bern"
    # The last age is from 1970 and ends after a second.
    assert found["rows"][2]["age"] is None


def test_a_pinned_view_fills_the_columns_that_a_request_leaves_out(worker: Worker, tmp_path: Path) -> None:
    materialise(worker.home)
    columns = ["age", "visits", "city", "since", "member"]
    binding = FeatureBinding(view=VIEW, key="user", columns=columns)
    arm = models.arm(models.column_model(tmp_path / "m"))
    worker.publish(models.state(models.endpoint(arm, features=binding)))
    worker.start()
    then = {"event_time": 500}
    answer = worker.post("/invocations", {"dataframe_records": [{"user": "u1"}, {"user": "u1"}], "params": then})
    assert answer.json()["predictions"] == [135.0, 135.0]
    assert worker.post("/invocations", {"dataframe_records": [{"user": "u1"}]}).json()["predictions"] == [None]
    sent = worker.post("/invocations", {"dataframe_records": [{"user": "u1", "age": 1.0}]})
    assert sent.json()["predictions"] == [106.0]
    tensor = {"name": "user", "datatype": "BYTES", "shape": [1], "data": ["u1"]}
    inferred = worker.post("/v2/models/churn/infer", {"inputs": [tensor], "parameters": then})
    assert inferred.json()["outputs"][0]["data"] == [135.0]
    by_parameter = worker.post("/v2/models/churn/infer", {"inputs": [], "parameters": {"key": "u1", **then}})
    assert by_parameter.json()["outputs"][0]["data"] == [135.0]
    # What the model saw is what the log says, whoever sent it.
    worker.stop()
    assert worker.predictions()[0].items[0].values[1] == [4, 4]


def test_columns_that_only_the_other_arm_takes_need_no_key(worker: Worker, tmp_path: Path) -> None:
    materialise(worker.home)
    columns = ["age", "visits", "city", "since", "member"]
    binding = FeatureBinding(view=VIEW, key="user", columns=[*columns, "height"])
    worker.publish(models.state(models.endpoint(models.arm(models.column_model(tmp_path / "m")), features=binding)))
    worker.start()
    row = dict(zip(columns, [30.0, 4, "Bern", 0, True], strict=True))
    assert worker.post("/invocations", {"dataframe_records": [row]}).json()["predictions"] == [135.0]


def test_a_request_without_the_key_is_told_what_to_send(worker: Worker, tmp_path: Path) -> None:
    materialise(worker.home)
    binding = FeatureBinding(view=VIEW, key="user", columns=["age", "visits", "city", "since", "member"])
    worker.publish(models.state(models.endpoint(models.arm(models.column_model(tmp_path / "m")), features=binding)))
    worker.start()
    answer = worker.post("/invocations", {"dataframe_records": [{"age": 1.0}]})
    assert answer.status_code == 400
    assert "by the column 'user'" in answer.json()["message"]
    unknown = worker.post("/invocations", {"dataframe_records": [{"user": "nobody"}]})
    assert unknown.status_code == 400
    assert "column 'visits', row 0: came null" in unknown.json()["message"]
