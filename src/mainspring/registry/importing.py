"""Taking a model in: an ONNX file or an MLmodel directory, given as an object, becomes a tree with known facts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from mainspring.core.errors import Corrupt, InvalidData
from mainspring.registry.mlmodel import MLMODEL, MLmodel, mlflow_schema, read_mlmodel, write_onnx_folder
from mainspring.registry.signature import (
    INFO_FILE,
    ColumnType,
    Field,
    ModelInfo,
    Signature,
    Task,
    decode_info,
    encode_info,
)
from mainspring.storage.objects.store import ObjectStore
from mainspring.storage.objects.tree import TreeEntry, get_tree, put_entries, put_tree, tree_entries

_TYPES: dict[str, ColumnType] = {
    "tensor(float)": "float",
    "tensor(float16)": "float",
    "tensor(double)": "double",
    "tensor(int64)": "long",
    "tensor(int32)": "integer",
    "tensor(bool)": "boolean",
    "tensor(string)": "string",
}


class Imported(msgspec.Struct, frozen=True):
    """A model in the store: the digest of its tree, its facts and its size."""

    digest: str
    info: ModelInfo
    size_bytes: int


def import_model(
    objects: ObjectStore, digest: str, *, task: Task | None = None, classes: list[str | int] | None = None
) -> Imported:
    """Read the model at *digest*, which is a tree (an MLmodel directory) or the object of an ONNX file.

    Facts that the model does not carry are read from its graph or its signature and added to it, so the digest of what
    is kept may be another. *task* and *classes* say what the model cannot. Raises NotFound when there is no such
    object, InvalidData when it is no model or a model that is code and has no signature, Unsupported for a signature
    that cannot be served.
    """
    try:
        entries = tree_entries(objects, digest)
    except Corrupt:
        return _import_file(objects, digest, task, classes)
    by_path = {entry.path: entry for entry in entries}
    if MLMODEL not in by_path:
        onnx = [entry for entry in entries if entry.path.endswith(".onnx")]
        if len(onnx) == 1 and len(entries) == 1:
            return _import_file(objects, onnx[0].digest, task, classes)
        raise InvalidData(f"the folder has no {MLMODEL} file; expected an ONNX file or what mlflow's save_model writes")
    said = read_mlmodel(objects.get_bytes(by_path[MLMODEL].digest))
    if INFO_FILE in by_path:
        info = _told(decode_info(objects.get_bytes(by_path[INFO_FILE].digest)), task, classes)
    else:
        info = _told(_facts(objects, digest, said, by_path), task, classes)
    return _with_info(objects, entries, info)


def _with_info(objects: ObjectStore, entries: list[TreeEntry], info: ModelInfo) -> Imported:
    data = encode_info(info)
    kept = [entry for entry in entries if entry.path != INFO_FILE]
    kept.append(TreeEntry(INFO_FILE, objects.put_bytes(data), len(data)))
    return Imported(put_entries(objects, kept), info, sum(entry.size for entry in kept))


def _import_file(objects: ObjectStore, digest: str, task: Task | None, classes: list[str | int] | None) -> Imported:
    with tempfile.TemporaryDirectory(prefix="mainspring-import-") as made:
        file = Path(made) / "given.onnx"
        objects.get_file(digest, file)
        info = _told(ModelInfo(signature=read_graph(file)), task, classes)
        folder = Path(made) / "model"
        write_onnx_folder(folder, file.read_bytes(), info, schema=mlflow_schema(info.signature))
        tree = put_tree(objects, folder)
    entries = tree_entries(objects, tree)
    return Imported(tree, info, sum(entry.size for entry in entries))


def _facts(objects: ObjectStore, digest: str, said: MLmodel, by_path: dict[str, TreeEntry]) -> ModelInfo:
    if said.engine == "process":
        if said.signature is None or not said.signature.inputs:
            raise InvalidData(
                "the MLmodel file has no signature, so requests could not be checked; save the model with one: "
                "mlflow...log_model(..., input_example=...)"
            )
        return ModelInfo(signature=said.signature, engine="process")
    file = said.onnx_file or ""
    if file not in by_path:
        raise InvalidData(f"the MLmodel file names {file!r}, which is not in the folder; save the model again")
    with tempfile.TemporaryDirectory(prefix="mainspring-import-") as made:
        get_tree(objects, digest, Path(made) / "model")
        return ModelInfo(signature=read_graph(Path(made) / "model" / file))


def read_graph(file: Path) -> Signature:
    """Give the signature that an ONNX graph has; raises InvalidData when onnxruntime cannot load it."""
    # Twenty megabytes that the control plane needs only while somebody registers a model.
    import onnxruntime

    from mainspring.registry.onnx_failures import ONNX_FAILURES

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except ONNX_FAILURES as error:
        raise InvalidData(f"this is no ONNX graph that can be run: {' '.join(str(error).split())[:300]}") from None
    inputs = [_field(node, "input") for node in session.get_inputs()]
    outputs = [_field(node, "output") for node in session.get_outputs() if node.type in _TYPES]
    return Signature(_alike(inputs), outputs)


def _field(node: Any, what: str) -> Field:
    if node.type not in _TYPES:
        raise InvalidData(f"the {what} {node.name!r} of the graph has the type {node.type}, which cannot be served")
    shape = [size if isinstance(size, int) and size >= 0 else -1 for size in node.shape]
    return Field(node.name, _TYPES[node.type], nullable=False, shape=shape if len(shape) > 1 else None)


def _alike(inputs: list[Field]) -> list[Field]:
    # A signature has columns or tensors, not both; a vector is a tensor of one dimension.
    if all(field.shape is None for field in inputs):
        return inputs
    return [msgspec.structs.replace(field, shape=field.shape or [-1]) for field in inputs]


def _told(info: ModelInfo, task: Task | None, classes: list[str | int] | None) -> ModelInfo:
    classes = classes or info.classes or _counted(info.signature)
    task = task or info.task
    if task is None and classes is not None:
        task = "binary" if len(classes) == 2 else "multiclass"
    if task is None and not _names_classes(info.signature):
        task = "regression"
    if task == "regression":
        classes = None
    return msgspec.structs.replace(info, task=task, classes=classes)


def _counted(signature: Signature) -> list[str | int] | None:
    """Guess the classes of a graph that gives labels and a table of probabilities: 0, 1, 2..."""
    tables = [f.shape for f in signature.outputs if f.shape and len(f.shape) == 2 and f.shape[1] > 1]
    labels = [f for f in signature.outputs if f.type in ("long", "integer") and (f.shape is None or len(f.shape) == 1)]
    return list(range(tables[0][1])) if tables and labels else None


def _names_classes(signature: Signature) -> bool:
    """Tell whether a graph answers with texts: the names of classes that only whoever trained it can list."""
    return any(field.type == "string" for field in signature.outputs)
