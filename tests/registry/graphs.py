"""Small ONNX models that the registry's tests register."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mainspring.registry.mlmodel import write_onnx_folder
from mainspring.registry.signature import Field, ModelInfo, Signature

INFO = ModelInfo(
    signature=Signature(
        [Field("x", "double", kind="numeric"), Field("town", "string", kind="categorical")],
        [Field("label", "string", nullable=False), Field("probabilities", "float", nullable=False, shape=[-1, 2])],
    ),
    task="binary",
    classes=["no", "yes"],
    metric="accuracy",
)


def columns_graph(cut: float = 0.0) -> bytes:
    """Give a graph of the columns x (number) and town (text) that answers yes where x > cut or the town is Ulm."""
    make = helper.make_node
    nodes = [
        make("LabelEncoder", ["town"], ["ulm"], domain="ai.onnx.ml", keys_strings=["Ulm"], values_floats=[100.0],
             default_float=0.0),
        make("Where", ["lost", "zero", "x"], ["known"]),
        make("IsNaN", ["x"], ["lost"]),
        make("Sub", ["known", "cut"], ["above"]),
        make("Add", ["above", "ulm"], ["raw"]),
        make("Sigmoid", ["raw"], ["p"]),
        make("Sub", ["one", "p"], ["q"]),
        make("Unsqueeze", ["p", "last"], ["p1"]),
        make("Unsqueeze", ["q", "last"], ["q1"]),
        make("Concat", ["q1", "p1"], ["probabilities"], axis=1),
        make("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0),
        make("Gather", ["names", "best"], ["label"]),
    ]  # fmt: skip
    nodes[1], nodes[2] = nodes[2], nodes[1]
    constants = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in {
            "zero": np.float32(0),
            "one": np.float32(1),
            "cut": np.float32(cut),
            "last": np.array([1]),
            "names": np.array(["no", "yes"], dtype=object),
        }.items()
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("town", TensorProto.STRING, ["N"]),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    return _model(nodes, inputs, outputs, constants)


def matrix_graph(classes: int = 3) -> bytes:
    """Give a graph of one matrix X [N, 4] that answers a label and probabilities."""
    weights = np.arange(4 * classes, dtype=np.float32).reshape(4, classes)
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["raw"]),
        helper.make_node("Softmax", ["raw"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 4])]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
    ]
    return _model(nodes, inputs, outputs, [numpy_helper.from_array(weights, "W")])


def columns_folder(folder: Path, cut: float = 0.0) -> Path:
    """Write the graph of columns as a model folder."""
    example = [{"x": 1.5, "town": "Ulm"}, {"x": -2.0, "town": None}]
    write_onnx_folder(folder, columns_graph(cut), INFO, example=example)
    return folder


def _model(nodes: list, inputs: list, outputs: list, constants: list) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
