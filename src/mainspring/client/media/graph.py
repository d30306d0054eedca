"""The graph of a model."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from mainspring.client.media.values import Encoded, Medium, library_of
from mainspring.core.errors import InvalidRequest, MissingExtra

MAX_NODES = 100_000
_MAX_ATTRIBUTE_CHARS = 200


class ModelGraph(Medium):
    """What a model is made of: a module of Torch, or a model of ONNX, as an object or a file."""

    def __init__(self, model: Any, caption: str | None = None) -> None:
        self._model, self._caption = model, caption

    def encode(self) -> Encoded:
        """Give it as the JSON object ``{"framework", "parameters", "inputs", "outputs", "nodes": [...]}``.

        Each node has its ``name``, its ``op``, the names of its ``inputs`` and ``outputs``, and ``attributes``.
        """
        model = self._model
        if hasattr(model, "named_modules"):
            graph = _of_torch(model)
        elif isinstance(model, str | Path) or library_of(model) == "onnx":
            graph = _of_onnx(model)
        else:
            raise InvalidRequest(f"{type(model).__name__} is no module of Torch and no model of ONNX")
        nodes = len(graph["nodes"])
        if nodes > MAX_NODES:
            raise InvalidRequest(f"the graph has {nodes} nodes, at most {MAX_NODES} can be shown")
        facts = {"framework": graph["framework"], "parameters": graph["parameters"]}
        return Encoded("graph", ".json", msgspec.json.encode(graph), self._caption, [nodes], facts)


def _of_torch(model: Any) -> dict[str, Any]:
    nodes = []
    for name, module in model.named_modules():
        own = {key: list(value.shape) for key, value in module.named_parameters(recurse=False)}
        nodes.append(
            {
                "name": name,
                "op": type(module).__name__,
                "inputs": [name.rpartition(".")[0]] if name else [],
                "outputs": [],
                "attributes": {"described": str(module.extra_repr())[:_MAX_ATTRIBUTE_CHARS], "parameters": own},
            }
        )
    count = sum(value.numel() for value in model.parameters())
    return {"framework": "torch", "parameters": int(count), "inputs": [], "outputs": [], "nodes": nodes}


def _of_onnx(model: Any) -> dict[str, Any]:
    if isinstance(model, str | Path):
        model = _read(Path(model))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    count = 0
    for tensor in weights.values():
        size = 1
        for dimension in tensor.dims:
            size *= dimension
        count += size
    nodes = [
        {
            "name": node.name or f"{node.op_type}_{number}",
            "op": node.op_type,
            "inputs": list(node.input),
            "outputs": list(node.output),
            "attributes": {attribute.name: _attribute(attribute) for attribute in node.attribute},
        }
        for number, node in enumerate(graph.node)
    ]
    return {
        "framework": "onnx",
        "parameters": count,
        "inputs": [_value(value) for value in graph.input if value.name not in weights],
        "outputs": [_value(value) for value in graph.output],
        "nodes": nodes,
    }


def _read(file: Path) -> Any:
    try:
        onnx = import_module("onnx")
    except ImportError:
        raise MissingExtra("the graph of an ONNX file is read with onnx: pip install 'mainspring[train]'") from None
    try:
        return onnx.load(str(file), load_external_data=False)
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}", file=str(file)) from error
    except Exception as error:
        raise InvalidRequest(f"{file} is no ONNX file: {error}", file=str(file)) from error


def _attribute(attribute: Any) -> Any:
    kind = attribute.type
    plain: dict[int, Any] = {1: attribute.f, 2: attribute.i, 6: list(attribute.floats), 7: list(attribute.ints)}
    if kind == 3:
        return attribute.s.decode(errors="replace")[:_MAX_ATTRIBUTE_CHARS]
    if kind == 8:
        return [text.decode(errors="replace") for text in attribute.strings][:100]
    value = plain.get(kind, "...")
    return value[:100] if isinstance(value, list) else value


def _value(value: Any) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [dimension.dim_param or dimension.dim_value for dimension in tensor.shape.dim]
    return {"name": value.name, "type": int(tensor.elem_type), "shape": shape}
