"""From the best parameters to a model in a folder: fitted on all rows, exported, and proved to be what was trained."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from mainspring.core.errors import Unsupported
from mainspring.registry.mlmodel import write_onnx_folder, write_process_folder
from mainspring.registry.quality import Array, Scores
from mainspring.registry.sample import SAMPLE_FILE, Sample, encode_sample
from mainspring.registry.signature import NULL_LONG, Field, ModelInfo, Signature
from mainspring.training.candidates import Candidate, Fitted, Learning, Parameters, Problem, fit, score
from mainspring.training.columns import Column, arrays, fields, strict_fields
from mainspring.training.export import add_model
from mainspring.training.graph import FEATURES, Graph, open_graph, run_graph
from mainspring.training.model import Proof
from mainspring.training.preparation import Preparation, add_features, features, prepare, run_preparation
from mainspring.training.search import weights_of

TOLERANCE = 1e-4
SAMPLE_ROWS = 500
_MORE_TREES = 1.1


class Model(msgspec.Struct, frozen=True):
    """A model fitted on all rows: the preparation, the estimator, and the classes in order (None for numbers)."""

    prepared: Preparation
    fitted: Fitted
    classes: list[str | int] | None


def refit(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    truth: Array,
    candidate: Candidate,
    problem: Problem,
    parameters: Parameters,
    *,
    age: Array | None,
    time: str | None,
    classes: list[str | int] | None,
) -> Model:
    """Fit the chosen candidate on all rows; a little longer than in the search, as there are more of them."""
    if candidate.stops:
        parameters = {**parameters, "trees": max(1, round(parameters["trees"] * _MORE_TREES))}
    prepared = prepare(frame, columns, truth, problem.classes, candidate.style, time=time)
    weights = weights_of(age, parameters.get("half_life", 0.0))
    fitted = fit(candidate, problem, parameters, Learning(features(frame, prepared), truth, weights))
    return Model(prepared, fitted, classes)


def export(model: Model) -> bytes:
    """Give the model as one ONNX graph from columns to answers; raises Unsupported when there is no translation."""
    graph = Graph()
    try:
        outputs = add_model(graph, add_features(graph, model.prepared), model.fitted, model.classes)
    except AttributeError as error:
        raise Unsupported(f"{type(model.fitted.estimator).__name__} is not built as expected: {error}") from error
    return graph.build(outputs)


def prove(model: Model, graph: bytes, rows: pl.DataFrame) -> Proof:
    """Compare the graph with the estimator on *rows*, one row without any value and one of unseen levels."""
    asked = _with_strange_rows(arrays(rows, model.prepared.columns), model.prepared.columns)
    count = len(rows) + 2
    truth = score(model.fitted, run_preparation(asked, model.prepared))
    # It loads what runs graphs, which whoever only starts trainings does without.
    from mainspring.registry.onnx_failures import ONNX_FAILURES

    try:
        answers = run_graph(open_graph(graph), asked)
    except ONNX_FAILURES as error:
        return Proof(proved=False, rows=count, tolerance=TOLERANCE, reason=f"the graph does not run: {error}")
    if model.classes is None:
        largest, differ = _largest(answers[0].ravel() / model.fitted.spread, truth.label / model.fitted.spread), 0
    else:
        largest, differ = _largest(answers[1], truth.probabilities), _other_labels(answers[0], truth, model.classes)
    proved = bool(np.isfinite(largest)) and largest <= TOLERANCE and differ == 0
    reason = None if proved else f"answers differ by up to {largest:.3g}, {differ} labels differ"
    shown = largest if np.isfinite(largest) else None
    return Proof(proved=proved, rows=count, tolerance=TOLERANCE, largest=shown, labels_differ=differ, reason=reason)


def write_model(
    folder: Path, model: Model, graph: bytes | None, info: ModelInfo, rows: pl.DataFrame, run_id: str
) -> None:
    """Write the model to *folder*: the graph, or the pickled estimator where there is none; with the sample *rows*."""
    columns = model.prepared.columns
    truth = score(model.fitted, features(rows, model.prepared))
    sample = Sample(_as_served(rows, columns), _as_answered(truth, model.classes))
    schema = Signature(strict_fields(columns, info.signature.inputs), _schema_outputs(info.signature.outputs, model))
    example = _example(rows.head(5), columns)
    if graph is not None:
        write_onnx_folder(folder, graph, info, schema=schema, run_id=run_id, example=example)
    else:
        write_process_folder(folder, _pickled(model), info, schema=schema, run_id=run_id, example=example)
    (folder / SAMPLE_FILE).write_bytes(encode_sample(sample))


def signature_of(model: Model) -> Signature:
    """Give the signature as it is served."""
    inputs = fields(model.prepared.columns, model.prepared.known_levels)
    if model.classes is None:
        return Signature(inputs, [Field("prediction", "double", nullable=False, shape=[-1, 1])])
    label = Field("label", "string" if isinstance(model.classes[0], str) else "long", nullable=False)
    return Signature(inputs, [label, Field("probabilities", "float", nullable=False, shape=[-1, len(model.classes)])])


def _with_strange_rows(values: dict[str, Array], columns: Sequence[Column]) -> dict[str, Array]:
    strange = {
        "categorical": np.array(["", "a level that never was"], dtype=object),
        "datetime": np.array([NULL_LONG, -(10**12)], dtype=np.int64),
    }
    nothing = np.array([np.nan, np.nan], dtype=np.float32)
    return {c.name: np.concatenate([values[c.name], strange.get(c.kind, nothing)]) for c in columns}


def _largest(found: Array, expected: Array | None) -> float:
    assert expected is not None
    return float(np.max(np.abs(found - expected))) if found.shape == expected.shape else float("inf")


def _other_labels(label: Array, truth: Scores, classes: list[str | int]) -> int:
    assert truth.probabilities is not None
    best_two = np.sort(truth.probabilities, axis=1)[:, -2:]
    told_apart = best_two[:, 1] - best_two[:, 0] > 2 * TOLERANCE
    expected = np.array(classes, dtype=label.dtype)[truth.label]
    return int(((label != expected) & told_apart).sum())


def _pickled(model: Model) -> bytes:
    from mainspring.training.table_model import TableClassifier, TableRegressor

    graph = Graph()
    preparation = graph.build({FEATURES: (add_features(graph, model.prepared), "float", ["N", "F"])})
    columns, fitted = model.prepared.columns, model.fitted
    if model.classes is None:
        return pickle.dumps(TableRegressor(preparation, columns, fitted))
    return pickle.dumps(TableClassifier(preparation, columns, fitted, model.classes))


def _as_served(rows: pl.DataFrame, columns: Sequence[Column]) -> dict[str, list[Any]]:
    served = {}
    for column in columns:
        series = rows[column.name]
        if column.kind == "datetime":
            series = series.cast(pl.Datetime("ms")).cast(pl.Int64)
        elif column.kind == "numeric" and not series.dtype.is_integer():
            series = pl.Series(arrays(rows, [column])[column.name].astype(float)).fill_nan(None)
        served[column.name] = series.to_list()
    return served


def _as_answered(truth: Scores, classes: list[str | int] | None) -> dict[str, list[Any]]:
    if classes is None or truth.probabilities is None:
        return {"prediction": truth.label.tolist()}
    return {"label": [classes[code] for code in truth.label], "probabilities": truth.probabilities.tolist()}


def _schema_outputs(outputs: list[Field], model: Model) -> list[Field]:
    if model.classes is None:
        return [Field("prediction", "double", nullable=False)]
    return [outputs[0], *(Field(f"probability_{name}", "double", nullable=False) for name in model.classes)]


def _example(rows: pl.DataFrame, columns: Sequence[Column]) -> list[dict[str, Any]]:
    names = [column.name for column in columns]
    dates = [column.name for column in columns if column.kind == "datetime"]
    shown = rows.select(names).with_columns(
        pl.col(name).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3f") for name in dates
    )
    return shown.to_dicts()
