"""The same features both times: what a model learnt from is what its endpoint reads when a request has only the key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

from mainspring.core.errors import Conflict
from mainspring.core.settings import Settings
from mainspring.features.model import Feature
from mainspring.planes.embedded import Platform
from mainspring.registry.mlmodel import write_onnx_folder
from mainspring.registry.signature import Field, ModelInfo, Signature
from mainspring.releases.model import Release
from mainspring.serving.engine.session import open_session
from mainspring.serving.model import FeatureBinding
from tests.serving.worker import Worker

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(hours=30)
PEOPLE = ["ada", "bob", "cyd"]
WINDOWED = [Feature("spent", "amount", "sum", "12h"), Feature("visits", "amount", "count", "24h")]
FEATURES = [*WINDOWED, Feature("latest", "amount"), Feature("town", "town")]
SIGNATURE = Signature(
    [Field("spent", "double"), Field("visits", "long", nullable=False), Field("latest", "double")],
    [Field("prediction", "float", shape=[-1, 1])],
)


def events() -> pl.DataFrame:
    """What three people did: something every hour, for two days."""
    random = np.random.default_rng(5)
    hours = range(48)
    return pl.DataFrame(
        {
            "person": [PEOPLE[hour % 2] for hour in hours],
            "at": [START + timedelta(hours=hour) for hour in hours],
            "amount": random.uniform(1, 50, 48).round(2),
            "town": [("Ulm", "Bonn")[hour % 2] for hour in hours],
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )


def questions(instants: list[datetime]) -> pl.DataFrame:
    """Everybody at each of the instants, with what is to be learnt."""
    rows = [(person, instant, float(number % 7)) for number, instant in enumerate(instants) for person in PEOPLE[:2]]
    schema = {"person": pl.String, "asked": pl.Datetime("us", "UTC"), "target": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def linear(folder: Path, weights: np.ndarray) -> Path:
    """A model of one input for each column: the weighted sum of them."""
    kinds = {"spent": TensorProto.FLOAT, "visits": TensorProto.INT64, "latest": TensorProto.FLOAT}
    nodes = [
        helper.make_node("Cast", ["visits"], ["visits_f"], to=TensorProto.FLOAT),
        *(
            helper.make_node("Mul", [name, f"weight_{at}"], [f"part_{at}"])
            for at, name in enumerate(("spent", "visits_f", "latest"))
        ),
        helper.make_node("Sum", ["part_0", "part_1", "part_2"], ["sum"]),
        helper.make_node("Reshape", ["sum", "shape"], ["prediction"]),
    ]
    constants = [numpy_helper.from_array(np.float32(weight), f"weight_{at}") for at, weight in enumerate(weights)]
    constants.append(numpy_helper.from_array(np.array([-1, 1]), "shape"))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(name, kind, ["N"]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N", 1])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    info = ModelInfo(signature=SIGNATURE, task="regression")
    write_onnx_folder(folder, made.SerializeToString(), info)
    return folder


class Shop:
    """A platform with the events, a view over them, and a model that learnt from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.platform = Platform(Settings(home=str(folder / "home")))
        self.platform.import_dataset("visits", events())
        self.view = self.define(FEATURES)

    def define(self, features: list[Feature]) -> str:
        view = self.platform.features.define("shop", "dataset:visits", ["person"], "at", features, max_age="36h")
        return view.ref

    def learn(self) -> str:
        """Fit a model to the features of earlier instants, and register it with the view."""
        earlier = questions([START + timedelta(hours=hour) for hour in range(2, 26)])
        learnt = self.platform.features.training_set(self.view, earlier, time_column="asked").frame
        columns = learnt.select("spent", "visits", "latest").to_numpy()
        weights = np.linalg.lstsq(columns, learnt.get_column("target").to_numpy(), rcond=None)[0]
        self.model = linear(self.folder / "model", weights)
        version = self.platform.import_model("shop", self.model, tags={"feature_view": self.view})
        return version.ref

    def materialise(self, view: str) -> None:
        name, _, version = view.removeprefix("feature_view:").partition("@")
        self.platform.features.materialise(name, int(version), NOW)

    def offline(self, view: str) -> list[float]:
        """Predict for ada and bob now, with the features as a training set has them."""
        frame = self.platform.features.training_set(view, questions([NOW]), time_column="asked").frame
        session = open_session(self.model)
        found = session.predict({name: frame.get_column(name).to_list() for name in ("spent", "visits", "latest")})
        session.close()
        return [float(value) for value in found["prediction"].ravel()]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.platform.close()


@pytest.fixture
def serving(shop: Shop) -> Iterator[Worker]:
    """A data worker on the home of the shop."""
    made = Worker(shop.platform.home)
    yield made
    made.kill()


def ask(worker: Worker, people: list[str], **more: object) -> httpx2.Response:
    key = {"name": "person", "datatype": "BYTES", "shape": [len(people)], "data": people}
    body = {"inputs": [key], "parameters": {"event_time": round(NOW.timestamp() * 1000), **more}}
    return worker.post("/v2/models/shop/infer", body)


def answers(worker: Worker, people: list[str]) -> list[float]:
    answer = ask(worker, people)
    assert answer.status_code == 200, answer.text
    return [float(value) for value in answer.json()["outputs"][0]["data"]]


def test_an_endpoint_that_is_asked_with_the_key_alone_answers_as_offline(shop: Shop, serving: Worker) -> None:
    model = shop.learn()
    shop.materialise(shop.view)
    release = shop.platform.releases.deploy("shop", model, features=FeatureBinding(view=shop.view))
    assert release.pinned.features == FeatureBinding(
        view="feature_view:shop@1", key="person", columns=["spent", "visits", "latest"]
    )
    serving.start()
    expected = shop.offline(shop.view)
    assert len(set(expected)) == 2
    assert answers(serving, ["ada", "bob"]) == expected
    by_name = {"dataframe_records": [{"person": "bob"}], "params": {"event_time": NOW.isoformat()}}
    assert serving.post("/invocations", by_name).json()["predictions"] == expected[1:]
    # What later events say is not known yet, and what the client says goes before what the store has.
    sent = {"dataframe_records": [{"person": "bob", "spent": 0.0}], "params": {"event_time": NOW.isoformat()}}
    assert serving.post("/invocations", sent).json()["predictions"] != expected[1:]
    lineage = {edge.source for edge in shop.platform.trace(release.ref).edges}
    assert {"feature_view:shop@1", "dataset:visits@1", model} <= lineage


def test_a_key_without_events_is_refused_where_the_model_needs_a_value(shop: Shop, serving: Worker) -> None:
    model = shop.learn()
    shop.materialise(shop.view)
    shop.platform.releases.deploy("shop", model)
    serving.start()
    unknown = ask(serving, ["ada", "nobody"])
    assert unknown.status_code == 400
    assert "column 'visits', row 1: came null" in unknown.json()["error"]
    assert "read by the column 'person'" in serving.post("/v2/models/shop/infer", {"inputs": []}).json()["error"]


def test_a_rollback_brings_the_view_back_that_the_release_pinned(shop: Shop, serving: Worker) -> None:
    model = shop.learn()
    newer = shop.define([Feature("spent", "amount", "sum", "3h"), *FEATURES[1:]])
    assert newer == "feature_view:shop@2"
    for view in (shop.view, newer):
        shop.materialise(view)
    first = shop.platform.releases.deploy("shop", model)
    serving.start()
    assert answers(serving, ["ada", "bob"]) == shop.offline(shop.view)
    shop.platform.releases.deploy("shop", model, features=FeatureBinding(view="shop"))
    assert view_of(shop.platform.releases.status("shop").stable) == newer
    assert answers(serving, ["ada", "bob"]) == shop.offline(newer) != shop.offline(shop.view)
    shop.platform.releases.rollback("shop")
    assert shop.platform.releases.status("shop").stable == first
    assert view_of(first) == shop.view
    assert answers(serving, ["ada", "bob"]) == shop.offline(shop.view)


def view_of(release: Release | None) -> str | None:
    return None if release is None or release.pinned.features is None else release.pinned.features.view


def test_a_view_that_was_never_materialised_is_not_deployed(shop: Shop) -> None:
    model = shop.learn()
    with pytest.raises(Conflict, match="`mainspring feature materialise shop 1`"):
        shop.platform.releases.deploy("shop", model)
    assert shop.platform.releases.list() == []


def test_features_are_read_by_key_as_they_are_offline(shop: Shop, serving: Worker) -> None:
    view = shop.platform.features.define("rolling", "dataset:visits", ["person"], "at", WINDOWED).ref
    serving.start()
    path = f"/v2/features/{view}/online"
    never = serving.post(path, {"keys": ["ada"]})
    assert never.status_code == 404
    assert "never materialised" in never.json()["error"]
    shop.materialise(view)
    found = serving.post(path, {"keys": ["ada", "nobody", ["bob"]]}).json()
    offline = shop.platform.features.training_set(view, questions([NOW]), time_column="asked").frame
    ada, bob = offline.select("spent", "visits").to_dicts()
    assert found == {"view": view, "rows": [ada, None, bob]}
    rows = shop.platform.features.read_online("rolling", 1, [["ada"], ["nobody"]])
    assert [row.values for row in rows] == [ada, None]
    for wrong in ([["ada", "bob"]], [[]]):
        refused = serving.post(path, {"keys": wrong})
        assert refused.status_code == 400
        assert "expected values of person" in refused.json()["error"]
