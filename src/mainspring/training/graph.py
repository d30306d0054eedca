"""Building an ONNX graph node by node.

The operators are those of opset 18 and ai.onnx.ml 3, which every onnxruntime that Mainspring accepts runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mainspring.registry.quality import Array
from mainspring.training.libraries import library

OPSET, ML_OPSET, IR_VERSION = 18, 3, 8
ML = "ai.onnx.ml"
_ELEMENTS = {"float": 1, "long": 7, "string": 8, "double": 11}

Output = tuple[str, str, list[int | str]]
# What only a program looks at has a name that no column is given: inputs have the names of columns.
FEATURES = "//features"


class Graph:
    """A graph under construction: tensors are known by their names, which the methods give back."""

    def __init__(self) -> None:
        self._helper = library("onnx.helper")
        self._from_array = library("onnx.numpy_helper").from_array
        self._inputs: dict[str, Any] = {}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._count = 0

    def input(self, name: str, element: str) -> str:
        """Declare an input of one value per row; *element* is ``float``, ``long`` or ``string``."""
        self._inputs[name] = self._helper.make_tensor_value_info(name, _ELEMENTS[element], ["N"])
        return name

    def constant(self, value: Array) -> str:
        """Give the name of a constant tensor."""
        name = self._name("constant")
        self._constants.append(self._from_array(value, name))
        return name

    def longs(self, *values: int) -> str:
        """Give the name of a constant vector of 64-bit integers."""
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float, dtype: type = np.float32) -> str:
        """Give the name of a constant scalar."""
        return self.constant(np.array(value, dtype=dtype))

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output and give the name of that."""
        return self.nodes(kind, 1, *inputs, domain=domain, **attributes)[0]

    def nodes(self, kind: str, outputs: int, *inputs: str, domain: str = "", **attributes: Any) -> list[str]:
        """Add an operator with several outputs and give the names of them."""
        names = [self._name(kind) for _ in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        self._nodes.append(self._helper.make_node(kind, list(inputs), names, domain=domain, **given))
        return names

    def build(self, outputs: Mapping[str, Output]) -> bytes:
        """Give the model; *outputs* maps each public name to (tensor, element, shape)."""
        make = self._helper
        self._rename({tensor: public for public, (tensor, _, _) in outputs.items()})
        declared = [
            make.make_tensor_value_info(name, _ELEMENTS[kind], shape) for name, (_, kind, shape) in outputs.items()
        ]
        body = make.make_graph(self._nodes, "mainspring", list(self._inputs.values()), declared, self._constants)
        opsets = [make.make_opsetid("", OPSET), make.make_opsetid(ML, ML_OPSET)]
        model = make.make_model(body, producer_name="mainspring", opset_imports=opsets, ir_version=IR_VERSION)
        return bytes(model.SerializeToString())

    def _rename(self, names: Mapping[str, str]) -> None:
        for node in self._nodes:
            for place, tensor in enumerate(node.output):
                node.output[place] = names.get(tensor, tensor)
            for place, tensor in enumerate(node.input):
                node.input[place] = names.get(tensor, tensor)

    def _name(self, kind: str) -> str:
        # The slashes keep these apart from the names of columns, which are those of the inputs.
        self._count += 1
        return f"//{kind}/{self._count}"


def open_graph(graph: bytes, threads: int = 1) -> Any:
    """Open a graph in onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_graph(session: Any, columns: Mapping[str, Array], batch: int = 65_536) -> list[Array]:
    """Run a graph over columns of any length, in batches that bound the memory."""
    rows = len(next(iter(columns.values())))
    parts = [
        session.run(None, {name: values[start : start + batch] for name, values in columns.items()})
        for start in range(0, rows, batch)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
