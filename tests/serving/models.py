"""Small models for the tests of serving, and the arms and states that serve them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from mainspring.registry.signature import Field, ModelInfo, Signature, encode_info
from mainspring.serving.engine.session import open_session
from mainspring.serving.model import Arm, EndpointState, FeatureBinding, ServingState

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]


def _save(folder: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(nodes, "model", inputs, outputs, initializer=constants)
    save(helper.make_model(graph, opset_imports=OPSETS, ir_version=8), str(folder / "model.onnx"))
    return folder


def sum_model(folder: Path, version: int = 1, *, rows: int | str = "N") -> Path:
    """A matrix X [N, 3] in, ``prediction`` [N, 1] out: the sum of the row and 1000 times the version."""
    return _save(
        folder,
        [
            helper.make_node("MatMul", ["X", "weights"], ["sum"]),
            helper.make_node("Add", ["sum", "bias"], ["prediction"]),
        ],
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [rows, 3])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [rows, 1])],
        [
            numpy_helper.from_array(np.ones((3, 1), np.float32), "weights"),
            numpy_helper.from_array(np.array([1000.0 * version], np.float32), "bias"),
        ],
    )


def class_model(folder: Path) -> Path:
    """A matrix X [N, 3] in, ``label`` [N] (which column is largest) and ``probabilities`` [N, 3] out."""
    return _save(
        folder,
        [
            helper.make_node("ArgMax", ["X"], ["label"], axis=1, keepdims=0),
            helper.make_node("Softmax", ["X"], ["probabilities"], axis=1),
        ],
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3]),
        ],
        [],
    )


COLUMNS = Signature(
    [
        Field("age", "double", kind="numeric"),
        Field("visits", "long", nullable=False, kind="numeric"),
        Field("city", "string", kind="categorical", levels=["Bern", "Basel"]),
        Field("since", "long", kind="datetime"),
        Field("member", "boolean", kind="boolean"),
    ],
    [Field("prediction", "float", shape=[-1, 1])],
)


def column_model(folder: Path, version: int = 1) -> Path:
    """One input for each of COLUMNS; ``prediction`` is age + visits + (Bern 100, Basel 200, else 0) + member."""
    nodes = [
        helper.make_node("Cast", ["visits"], ["visits_f"], to=TensorProto.FLOAT),
        helper.make_node(
            "LabelEncoder", ["city"], ["city_f"], domain="ai.onnx.ml", keys_strings=["Bern", "Basel"],
            values_floats=[100.0, 200.0], default_float=0.0,
        ),
        helper.make_node("Mul", ["since_f", "nothing"], ["since_0"]),
        helper.make_node("Cast", ["since"], ["since_f"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["age", "visits_f", "city_f", "since_0", "member"], ["sum"]),
        helper.make_node("Reshape", ["sum", "shape"], ["prediction"]),
    ]  # fmt: skip
    nodes[2], nodes[3] = nodes[3], nodes[2]
    kinds = {"age": TensorProto.FLOAT, "visits": TensorProto.INT64, "city": TensorProto.STRING}
    kinds |= {"since": TensorProto.INT64, "member": TensorProto.FLOAT}
    _save(
        folder,
        nodes,
        [helper.make_tensor_value_info(name, kind, ["N"]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N", 1])],
        [
            numpy_helper.from_array(np.array([0.0], np.float32), "nothing"),
            numpy_helper.from_array(np.array([-1, 1], np.int64), "shape"),
        ],
    )
    (folder / "mainspring.json").write_bytes(encode_info(ModelInfo(signature=COLUMNS, task="regression")))
    return folder


PICKLED = Signature([Field("a", "double"), Field("b", "double")], [])


class Sulky:
    """An estimator that fails on a = 13, dies on a = 99, and otherwise adds."""

    def predict(self, frame: Any) -> Any:
        """Add a and b."""
        import os

        values = np.asarray(frame["a"], dtype=float)
        if 99.0 in values:
            os._exit(7)
        if 13.0 in values:
            raise ValueError("thirteen")
        if 55.0 in values:
            return np.array([float(len([name for name in os.environ if "SECRET" in name]))] * len(values))
        print("a word on standard output that must not reach the frames")
        return values + np.asarray(frame["b"], dtype=float)


def pickled_classifier(folder: Path) -> Path:
    """A real scikit-learn classifier, pickled: yes when a > b."""
    from sklearn.linear_model import LogisticRegression

    values = np.random.default_rng(0).normal(size=(200, 2))
    model = LogisticRegression(C=1000).fit(values, np.where(values[:, 0] > values[:, 1], "yes", "no"))
    return pickled(folder, model, ["no", "yes"])


def pickled(folder: Path, model: object, classes: list[str | int] | None = None) -> Path:
    """Any estimator, pickled, with its facts file."""
    folder.mkdir(parents=True, exist_ok=True)
    # By value: the child process cannot import the tests.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    (folder / "MLmodel").write_text("flavors: {}\n")
    info = ModelInfo(signature=PICKLED, engine="process", classes=classes)
    (folder / "mainspring.json").write_bytes(encode_info(info))
    return folder


def arm(folder: Path, version: int = 1, *, name: str = "churn", engine: str = "onnx", **more: Any) -> Arm:
    """The arm that serves the model in a folder."""
    signature = more.pop("signature", None)
    if signature is None:
        opened = open_session(folder)
        signature = opened.signature
        opened.close()
    return Arm(
        release=f"release:{name}@{version}",
        model=f"model:{name}@{version}",
        digest=f"sha256:{folder.name}",
        path=str(folder),
        engine="process" if engine == "process" else "onnx",
        signature=signature,
        **more,
    )


def endpoint(
    stable: Arm,
    canary: Arm | None = None,
    share: float = 0.0,
    *,
    name: str = "churn",
    features: FeatureBinding | None = None,
) -> EndpointState:
    """An endpoint with these arms."""
    return EndpointState(name=name, stable=stable, canary=canary, canary_share=share, salt="salt", features=features)


def state(*endpoints: EndpointState) -> ServingState:
    """A state with these endpoints."""
    return ServingState(version=1, endpoints=list(endpoints))


def inference(rows: Sequence[Sequence[float]], **more: Any) -> dict[str, Any]:
    """The body of an Open Inference request for the matrix models."""
    flat = [value for row in rows for value in row]
    return {"inputs": [{"name": "X", "datatype": "FP32", "shape": [len(rows), 3], "data": flat}], **more}
