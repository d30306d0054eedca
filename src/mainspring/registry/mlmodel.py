"""The MLmodel directory layout: how a model lies in a folder, so that MLflow opens what we write and we read its own.

The layout is described at https://mlflow.org/docs/latest/ml/model/: a YAML file ``MLmodel`` names the flavors; beside
it lie the model and what it needs to run. ``mainspring.json`` holds what that file has no place for.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import yaml

from mainspring.core.errors import InvalidData
from mainspring.registry.signature import (
    INFO_FILE,
    Engine,
    Field,
    ModelInfo,
    Signature,
    decode_signature,
    encode_info,
    encode_signature,
)

MLMODEL = "MLmodel"
ONNX_FILE = "model.onnx"
PICKLE_FILE = "model.pkl"
EXAMPLE_FILE = "input_example.json"
LOADER = "mainspring_pyfunc_loader"

Rows = Sequence[Mapping[str, Any]]


class MLmodel(msgspec.Struct, frozen=True, kw_only=True):
    """What an MLmodel file says: flavors with their settings, the signature, and where the model came from."""

    flavors: dict[str, dict[str, Any]]
    signature: Signature | None = None
    uuid: str | None = None
    run_id: str | None = None
    created: str | None = None

    @property
    def engine(self) -> Engine:
        """Give ``onnx`` when the model is a graph, else ``process``: opening it runs its code."""
        return "onnx" if "onnx" in self.flavors else "process"

    @property
    def onnx_file(self) -> str | None:
        """Give the path of the graph in the folder."""
        flavor = self.flavors.get("onnx")
        return None if flavor is None else str(flavor.get("data", ONNX_FILE))


def read_mlmodel(text: bytes) -> MLmodel:
    """Read the text of an MLmodel file.

    Raises InvalidData when it is no YAML mapping with flavors, Unsupported when its signature cannot be served.
    """
    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidData(f"the MLmodel file is no YAML: {_one_line(error)}; save the model again") from None
    flavors = said.get("flavors") if isinstance(said, dict) else None
    if not isinstance(flavors, dict) or not all(isinstance(flavor, dict) for flavor in flavors.values()):
        raise InvalidData("the MLmodel file names no flavors; expected what mlflow's save_model writes")
    signature = said.get("signature")
    created = said.get("utc_time_created")
    return MLmodel(
        flavors=flavors,
        signature=decode_signature(signature) if isinstance(signature, dict) else None,
        uuid=said.get("model_uuid"),
        run_id=said.get("run_id"),
        created=None if created is None else str(created),
    )


def write_onnx_folder(
    folder: Path,
    graph: bytes,
    info: ModelInfo,
    *,
    schema: Signature | None = None,
    run_id: str | None = None,
    example: Rows = (),
) -> None:
    """Make *folder* a model that is an ONNX graph.

    *schema* is the signature as MLflow shall check it, where that differs from the model's own: MLflow wants integers
    told from numbers, which we serve alike.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX_FILE).write_bytes(graph)
    onnx: dict[str, Any] = {"data": ONNX_FILE, "providers": ["CPUExecutionProvider"], "code": None}
    pyfunc: dict[str, Any] = {"loader_module": "mlflow.onnx", "data": ONNX_FILE, "code": None}
    needs = ["numpy", "onnxruntime", "pandas"]
    if info.signature.tensors:
        needs.append("onnx")
    else:
        (folder / "code").mkdir(exist_ok=True)
        loader = Path(__file__).with_name("pyfunc_loader.py").read_text(encoding="utf-8")
        (folder / "code" / f"{LOADER}.py").write_text(loader, encoding="utf-8")
        pyfunc = {"loader_module": LOADER, "code": "code"}
    _write(folder, info, {"onnx": onnx, "python_function": pyfunc}, needs, schema, run_id, example)


def write_process_folder(
    folder: Path,
    pickled: bytes,
    info: ModelInfo,
    *,
    schema: Signature | None = None,
    run_id: str | None = None,
    example: Rows = (),
) -> None:
    """Make *folder* a model that is a pickled scikit-learn estimator, to be opened in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PICKLE_FILE).write_bytes(pickled)
    sklearn = {
        "code": None,
        "pickled_model": PICKLE_FILE,
        "serialization_format": "pickle",
        "sklearn_version": version("scikit-learn"),
    }
    pyfunc = {"loader_module": "mlflow.sklearn", "model_path": PICKLE_FILE, "predict_fn": "predict", "code": None}
    needs = ["mainspring", "numpy", "onnxruntime", "pandas", "scikit-learn"]
    _write(folder, info, {"sklearn": sklearn, "python_function": pyfunc}, needs, schema, run_id, example)


def mlflow_schema(signature: Signature) -> Signature:
    """Give a signature in MLflow's words: moments are datetimes rather than milliseconds."""
    inputs = [msgspec.structs.replace(f, type="datetime") if f.kind == "datetime" else f for f in signature.inputs]
    return Signature(inputs, _flat_outputs(signature.outputs))


def _flat_outputs(outputs: list[Field]) -> list[Field]:
    # MLflow knows either tensors or columns, not both at once.
    tensors = {field.shape is not None for field in outputs}
    if len(tensors) < 2:
        return outputs
    return [msgspec.structs.replace(f, shape=f.shape if f.shape is not None else [-1]) for f in outputs]


def _write(
    folder: Path,
    info: ModelInfo,
    flavors: dict[str, dict[str, Any]],
    needs: list[str],
    schema: Signature | None,
    run_id: str | None,
    example: Rows,
) -> None:
    (folder / INFO_FILE).write_bytes(encode_info(info))
    python = platform.python_version()
    flavors["python_function"] |= {
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "python_version": python,
    }
    said: dict[str, Any] = {
        "artifact_path": "model",
        "flavors": flavors,
        "model_uuid": uuid4().hex,
        "run_id": run_id,
        "signature": encode_signature(schema or mlflow_schema(info.signature)),
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    if example and not info.signature.tensors:
        said["saved_input_example_info"] = {
            "artifact_path": EXAMPLE_FILE,
            "type": "dataframe",
            "pandas_orient": "split",
        }
        names = [field.name for field in info.signature.inputs]
        split = {"columns": names, "data": [[row.get(name) for name in names] for row in example]}
        (folder / EXAMPLE_FILE).write_bytes(msgspec.json.encode(split))
    _write_environment(folder, needs, python)
    _write_yaml(folder / MLMODEL, {key: value for key, value in said.items() if value is not None})


def _write_environment(folder: Path, needs: list[str], python: str) -> None:
    pins = [f"{package}=={version(package)}" for package in needs if _installed(package)]
    (folder / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": pins}],
        "name": "mlflow-env",
    }
    _write_yaml(folder / "conda.yaml", conda)
    env = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    _write_yaml(folder / "python_env.yaml", env)


def _installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _write_yaml(path: Path, value: object) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=1000), encoding="utf-8")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
