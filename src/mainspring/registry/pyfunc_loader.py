"""Lets MLflow open a model whose ONNX graph takes one input per column; a copy of this file travels in each such model.

It needs numpy, onnxruntime and pandas, and no Mainspring.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd


class ColumnModel:
    """An ONNX model fed from the columns of a data frame; nulls reach it in the way that it was trained with."""

    def __init__(self, folder: Path) -> None:
        self.info = json.loads((folder / "mainspring.json").read_text(encoding="utf-8"))
        self.fields = {field["name"]: field for field in self.info["signature"]["inputs"]}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Give one row of answers per row of *data*: label and one probability per class, or prediction."""
        frame = pd.DataFrame(data)
        feed = {i.name: _column(frame, self.fields[i.name], i.type) for i in self.session.get_inputs()}
        answers = dict(zip([o.name for o in self.session.get_outputs()], self.session.run(None, feed), strict=True))
        probabilities = answers.pop("probabilities", None)
        columns = {name: values.reshape(-1) for name, values in answers.items()}
        if probabilities is not None:
            names = self.info.get("classes") or range(probabilities.shape[1])
            columns |= {f"probability_{name}": probabilities[:, at] for at, name in enumerate(names)}
        return pd.DataFrame(columns, index=frame.index)


def _column(frame: pd.DataFrame, field: dict[str, Any], kind: str) -> np.ndarray[Any, Any]:
    name = field["name"]
    if name not in frame.columns and not field.get("nullable", True):
        raise ValueError(f"the column {name!r} is missing, and the model needs it")
    values = frame[name] if name in frame.columns else pd.Series([None] * len(frame), index=frame.index)
    if kind == "tensor(string)":
        return np.array(["" if pd.isna(value) else str(value) for value in values], dtype=object)
    if field.get("kind") == "datetime":
        moments = values if values.dtype.kind in "iM" else pd.to_datetime(values)
        if moments.dtype.kind == "i":
            return np.asarray(moments.to_numpy(dtype=np.int64))
        # A missing moment becomes the smallest 64-bit integer, which is how the model knows it.
        return np.asarray(moments.to_numpy(dtype="datetime64[ms]").astype(np.int64))
    if kind == "tensor(int64)":
        return np.asarray(values.to_numpy(dtype=np.int64))
    return np.asarray(values.astype("float64").to_numpy(dtype=np.float32))


def _load_pyfunc(path: str) -> ColumnModel:
    return ColumnModel(Path(path))
