"""Open a model for prediction: ONNX in this process, anything that needs code of its own in a child process."""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from mainspring.core.errors import Forbidden, InvalidData, InvalidRequest, MainspringError, NotFound, Unsupported
from mainspring.registry.signature import INFO_FILE, NULL_LONG, ColumnType, Field, ModelInfo, Signature, decode_info
from mainspring.serving.engine.checking import Layout, Output, Rows
from mainspring.serving.engine.process import ProcessSession

OFFLINE_ROWS = 8192

# The errors of onnxruntime have no ancestor of their own below Exception.
_FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)

LOAD_FAILURES: tuple[type[Exception], ...] = (
    *(MainspringError, OSError, LookupError, TypeError, AttributeError, MemoryError),
    *_FAILURES,
)
"""What the folder of a model can make of its opening, Mainspring's own errors among it."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
_FIELD_TYPES: dict[str, ColumnType] = {
    "float32": "float",
    "float64": "double",
    "float16": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
    "object": "string",
}


class Session(Protocol):
    """A model that is open: what it takes, what it gives, and a run over rows that were checked."""

    signature: Signature
    layout: Layout
    outputs: list[Output]
    inline: bool

    def run(self, parts: Sequence[Rows]) -> list[list[Any]]:
        """Run the model once over all *parts*; gives one list for each output, with an entry for each row."""
        ...

    def predict(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Score whole columns (sequences or arrays by input name); gives an array for each output."""
        ...

    def close(self) -> None:
        """Let go of what the session holds."""
        ...


def open_session(
    path: str | Path,
    *,
    engine: Literal["onnx", "process", "auto"] = "auto",
    signature: Signature | None = None,
    trusted: bool = False,
) -> Session:
    """Open the model in the folder (or ONNX file) *path*.

    *signature* defaults to that of the model's facts file, or of the graph. A model that is not ONNX runs code that
    came with it: it is opened, in a child process, only when *trusted*.
    Raises NotFound when nothing is there, Forbidden for untrusted code, InvalidData for a graph that does not load.
    """
    folder = Path(path)
    if not folder.exists():
        raise NotFound(f"there is no model at {folder}; expected a model folder or an ONNX file", path=str(folder))
    info = _info(folder)
    graph = _graph_file(folder)
    if engine == "auto":
        engine = "onnx" if graph is not None and (info is None or info.engine == "onnx") else "process"
    signature = signature or (info.signature if info else None)
    if engine == "onnx":
        if graph is None:
            raise NotFound(f"the model folder {folder} holds no .onnx file; open it with the engine 'process'")
        return OnnxSession(graph, signature)
    if not trusted:
        raise Forbidden(
            f"the model at {folder} runs code that came with it; register it here or allow it explicitly to trust it"
        )
    if signature is None:
        raise InvalidData(f"the model at {folder} has no signature; log it again with one (an input example)")
    return ProcessSession(folder, signature, info.classes if info else None)


def _info(folder: Path) -> ModelInfo | None:
    file = folder / INFO_FILE
    return decode_info(file.read_bytes()) if file.is_file() else None


def _graph_file(path: Path) -> Path | None:
    if path.is_file():
        return path
    preferred = path / "model.onnx"
    if preferred.is_file():
        return preferred
    found = sorted(path.rglob("*.onnx"))
    return found[0] if len(found) == 1 else None


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    # One thread each: the requests of a worker share one core, and a pool would only wait for it.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return options


class OnnxSession:
    """An ONNX graph in this process, run on one thread."""

    inline = True

    def __init__(self, file: Path, signature: Signature | None = None) -> None:
        try:
            self._session = onnxruntime.InferenceSession(str(file), _options(), providers=["CPUExecutionProvider"])
        except _FAILURES as broken:
            raise InvalidData(f"{file} does not load as an ONNX graph: {broken}; export the model again") from broken
        self._dtypes = {node.name: _dtype(node) for node in self._session.get_inputs()}
        self._shapes = {node.name: _shape(node.shape) for node in self._session.get_inputs()}
        self.signature = signature or Signature(
            [
                _field(node.name, self._dtypes[node.name], self._shapes[node.name])
                for node in self._session.get_inputs()
            ],
            [],
        )
        self._match(file)
        narrow = frozenset(name for name, dtype in self._dtypes.items() if dtype in ("float32", "float16"))
        self.layout = Layout(self.signature, narrow)
        self.outputs = [_output(node) for node in self._session.get_outputs()]
        self._names = [output.name for output in self.outputs]
        self._maps = any(node.type.startswith("seq(") for node in self._session.get_outputs())
        self._row_shape = (-1, *(self.layout.fields[0].shape or [])[1:]) if self.layout.fields else (-1,)

    def _match(self, file: Path) -> None:
        wanted = {field.name for field in self.signature.inputs}
        if wanted != set(self._dtypes):
            raise InvalidData(
                f"the inputs of {file} are {', '.join(self._dtypes)}, but its signature says "
                f"{', '.join(sorted(wanted))}; register the model again with the signature of the graph"
            )

    def run(self, parts: Sequence[Rows]) -> list[list[Any]]:
        """Run the graph once over all parts.

        Raises InvalidRequest when a number does not fit the graph, MainspringError when the graph fails.
        """
        feeds = self._matrix(parts) if self.layout.matrix else self._columns(parts)
        return [found.tolist() for found in self._results(feeds)]

    def predict(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Score whole columns, some thousand rows at a time."""
        arrays = {name: self._offline(name, columns) for name in self._dtypes}
        rows = max(len(found) for found in arrays.values())
        chunks = [
            self._results({name: found[start : start + OFFLINE_ROWS] for name, found in arrays.items()})
            for start in range(0, rows, OFFLINE_ROWS)
        ]
        return {
            name: np.concatenate([np.asarray(chunk[at]) for chunk in chunks]) for at, name in enumerate(self._names)
        }

    def close(self) -> None:
        """Let the graph go; its memory is freed with the last reference."""
        self._session = None

    def _results(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        try:
            found = self._session.run(self._names, feeds)
        except _FAILURES as failed:
            raise MainspringError(f"the model failed on this input: {str(failed)[:400]}") from failed
        if self._maps:
            return [_unmapped(value) if isinstance(value, list) else value for value in found]
        results: list[Any] = found
        return results

    def _matrix(self, parts: Sequence[Rows]) -> dict[str, np.ndarray]:
        name = self.layout.names[0]
        buffer = array.array("d" if self._dtypes[name] == "float64" else "f")
        for part in parts:
            if type(part.values) is list:
                buffer.fromlist(part.values)
            else:
                buffer.frombytes(part.values.astype(buffer.typecode).tobytes())
        matrix = np.frombuffer(buffer, dtype=buffer.typecode)
        if not np.isfinite(matrix).all() and np.isinf(matrix).any():
            self._refuse_infinite(parts)
        matrix = matrix.reshape(parts[0].shape[0] if parts[0].shape else self._row_shape)
        return {name: matrix.astype(self._dtypes[name], copy=False)}

    def _refuse_infinite(self, parts: Sequence[Rows]) -> None:
        for part in parts:
            if type(part.values) is list:
                self.layout.refuse_not_finite(part.values)

    def _columns(self, parts: Sequence[Rows]) -> dict[str, np.ndarray]:
        feeds = {}
        for at, name in enumerate(self.layout.names):
            own = [part.values[at] for part in parts]
            values = own[0] if len(own) == 1 else list(chain.from_iterable(own))
            feeds[name] = self._array(name, values, parts[0].shape[at] if parts[0].shape else None)
        return feeds

    def _array(self, name: str, values: list[Any], shape: tuple[int, ...] | None = None) -> np.ndarray:
        dtype = self._dtypes[name]
        if dtype == "object" and None in values:
            values = ["" if value is None else value for value in values]
        elif dtype.startswith("int") and None in values:
            values = [NULL_LONG if value is None else value for value in values]
        found = np.array(values, dtype=dtype)
        wanted = shape or (-1, *self._shapes[name][1:])
        return found if len(wanted) == 1 else found.reshape(wanted)

    def _offline(self, name: str, columns: Mapping[str, Any]) -> np.ndarray:
        if name not in columns:
            raise InvalidRequest(f"column {name!r} is missing; expected {', '.join(self._dtypes)}", column=name)
        found = np.asarray(columns[name])
        if found.dtype.kind == "M":
            stamps = found.astype("datetime64[ms]")
            found = stamps.astype("int64")
        dtype = self._dtypes[name]
        if found.dtype == object:
            return self._array(name, [_missing(value) for value in found.tolist()])
        if dtype == "object":
            found = found.astype(str).astype(object)
        with np.errstate(over="ignore"):
            found = found.astype(dtype, copy=False)
        inner = self._shapes[name][1:]
        return found if found.ndim == 1 + len(inner) else found.reshape((-1, *inner))


def _missing(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def _unmapped(maps: list[dict[Any, float]]) -> np.ndarray:
    # A ZipMap gives one dict of class to probability for each row; the classes come sorted.
    return np.array([list(one.values()) for one in maps], dtype="float32")


def _shape(shape: list[Any]) -> list[int]:
    return [size if isinstance(size, int) and size >= 0 else -1 for size in shape]


def _dtype(node: Any) -> str:
    try:
        return _DTYPES[node.type]
    except KeyError:
        raise Unsupported(
            f"the graph's input {node.name!r} is a {node.type}; expected one of {', '.join(_DTYPES)}"
        ) from None


def _field(name: str, dtype: str, shape: list[int]) -> Field:
    tensor = shape if len(shape) > 1 else None
    return Field(name, _FIELD_TYPES[dtype], nullable=False, shape=tensor)


_OUTPUT_DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
}


def _output(node: Any) -> Output:
    if node.type.startswith("seq("):
        return Output(node.name, "FP32", [-1, -1])
    try:
        return Output(node.name, _OUTPUT_DATATYPES[node.type], _shape(node.shape))
    except KeyError:
        raise Unsupported(
            f"the graph's output {node.name!r} is a {node.type}; expected one of {', '.join(_OUTPUT_DATATYPES)}"
        ) from None
