"""The child process of a model that runs code of its own: ``python -m mainspring.serving.engine.child FOLDER PARENT``.

It loads the model of the folder, then answers frames on its standard input until that closes. What the model prints
goes to standard error. The process ends by itself when its parent is gone.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from mainspring.serving.engine.process import FRAME, Ask, Told

# Whatever the model's own code raises is the answer to that one run, not the end of the process.
FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError, LookupError, MemoryError),
    *(NameError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, pickle.PickleError),
)

Scorer = Callable[[dict[str, list[Any]]], dict[str, Any]]
PICKLES = ("model.pkl", "python_model.pkl", "model.pickle", "model.joblib")


def main(arguments: list[str]) -> int:
    """Serve one model; gives the exit status."""
    folder, parent = Path(arguments[0]), int(arguments[1])
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    first = _frame(questions)
    if first is None:
        return 0
    classes = msgspec.msgpack.decode(first, type=list[str | int] | None)
    try:
        names, scorer = load(folder, classes)
    except FAILURES as failed:
        _tell(answers, Told(error=f"{type(failed).__name__}: {failed}"))
        return 1
    _tell(answers, Told({name: [] for name in names}))
    while (frame := _frame(questions)) is not None:
        _tell(answers, _answer(scorer, msgspec.msgpack.decode(frame, type=Ask)))
    return 0


def load(folder: Path, classes: list[str | int] | None) -> tuple[list[str], Scorer]:
    """Load the model of a folder: a pickled estimator, or whatever MLflow's pyfunc can load."""
    file = next((folder / name for name in PICKLES if (folder / name).is_file()), None)
    if file is not None and file.name != "python_model.pkl":
        model = _unpickle(file)
        if hasattr(model, "predict"):
            return _estimator(model, classes)
    if find_spec("mlflow") is None:
        raise ImportError(f"{folder} holds no pickled estimator, and MLflow, which could load it, is not installed")
    return _estimator(import_module("mlflow.pyfunc").load_model(str(folder)), classes)


def _unpickle(file: Path) -> Any:
    if file.suffix == ".joblib":
        return import_module("joblib").load(file)
    with file.open("rb") as opened:
        try:
            # The parent starts this process only for a model whose origin it trusts.
            return pickle.load(opened)  # noqa: S301
        except pickle.UnpicklingError:
            return import_module("joblib").load(file)


def _estimator(model: Any, classes: list[str | int] | None) -> tuple[list[str], Scorer]:
    if hasattr(model, "predict_proba"):
        known = classes or [_plain(one) for one in model.classes_]

        def classify(columns: dict[str, list[Any]]) -> dict[str, Any]:
            found = np.asarray(model.predict_proba(_frame_of(columns)), dtype="float64")
            return {"label": [known[at] for at in found.argmax(axis=1)], "probabilities": found.tolist()}

        return ["label", "probabilities"], classify
    return ["prediction"], lambda columns: {"prediction": _flat(model.predict(_frame_of(columns)))}


def _frame_of(columns: dict[str, list[Any]]) -> Any:
    first = next(iter(columns.values()))
    if len(columns) == 1 and first and isinstance(first[0], list):
        return np.asarray(first)
    library = "pandas" if find_spec("pandas") else "polars"
    return import_module(library).DataFrame(columns)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _flat(found: Any) -> list[Any]:
    values = np.asarray(found)
    listed: list[Any] = (values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values).tolist()
    return listed


def _answer(scorer: Scorer, ask: Ask) -> Told:
    try:
        return Told(scorer(ask.columns))
    except FAILURES as failed:
        return Told(error=f"{type(failed).__name__}: {failed}"[:2000])


def _frame(source: BinaryIO) -> bytes | None:
    head = source.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    (length,) = FRAME.unpack(head)
    return source.read(length)


def _tell(target: BinaryIO, told: Told) -> None:
    frame = msgspec.msgpack.encode(told)
    target.write(FRAME.pack(len(frame)) + frame)
    target.flush()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
