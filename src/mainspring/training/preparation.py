"""From columns to numbers: what is learned from the training rows, and the graph nodes that apply it.

Training runs the very nodes that the finished model carries, so a served row is prepared as the learned ones were.
Trees get each category as its rank by the target (the best cut of ranks is the best cut of levels: Fisher 1958, Breiman
et al. 1984, section 4.2) and missing numbers as NaN; linear models get one column per level, and numbers imputed by the
median, told apart by a flag, held within bounds, centred and scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
import polars as pl

from mainspring.registry.quality import Array
from mainspring.registry.signature import NULL_LONG
from mainspring.training.columns import Column, arrays
from mainspring.training.graph import FEATURES, ML, Graph, open_graph, run_graph

Style = Literal["trees", "linear"]

_DAY_MS = 86_400_000
_CYCLE_DAYS = 146_097  # after 400 years the Gregorian calendar repeats, to the day of the week
_PARTS = ("days", "hour", "month", "weekday", "day")
_WAVES = {"hour": 24.0, "month": 12.0, "weekday": 7.0}
_SPAN_DAYS = {"month": 400, "weekday": 14, "day": 62}
_SMOOTHING = 20.0
_LARGEST = 3e38
_TREE_LEVELS, _LINEAR_LEVELS = 250, 50


class Levels(msgspec.Struct, frozen=True):
    """The levels of a categorical column that are known one by one, and the code of each.

    ``other`` is the code of all the rest, among them what was never seen; ``seen`` are the levels, most frequent first.
    """

    column: str
    values: list[str]
    codes: list[float]
    other: float
    seen: list[str]


class Scaling(msgspec.Struct, frozen=True):
    """How a linear model sees numbers: what stands for a missing one, bounds, centre, factor, and which get a flag."""

    fill: Array
    low: Array
    high: Array
    centre: Array
    factor: Array
    flagged: list[int]


class Preparation(msgspec.Struct, frozen=True):
    """Everything learned about the columns; ``moments`` are the parts kept of the date columns, by their places."""

    style: Style
    columns: list[Column]
    levels: list[Levels]
    moments: list[int]
    scaling: Scaling | None = None

    @property
    def known_levels(self) -> dict[str, list[str]]:
        """Give the levels of each categorical column, most frequent first."""
        return {levels.column: levels.seen for levels in self.levels}


def prepare(
    frame: pl.DataFrame, columns: Sequence[Column], truth: Array, classes: int, style: Style, *, time: str | None = None
) -> Preparation:
    """Learn from the rows of *frame* how to prepare *columns*; *truth* is the encoded target, *classes* 0 for numbers.

    Of the *time* column only the hour, the weekday and their like are used: its date lies beyond all that was learned
    by the time the model is used.
    """
    levels = [_levels(frame[column.name], truth, classes, style) for column in columns if column.kind == "categorical"]
    moments = _moments(frame, columns, style, time)
    if not moments and all(column.kind == "datetime" for column in columns):
        moments = [0]  # Dates that tell nothing are all there is, and a model needs a feature.
    prepared = Preparation(style, list(columns), levels, moments)
    if style == "trees" or not _has_numbers(prepared):
        return prepared
    numbers = [column for column in columns if column.kind != "categorical"]
    graph, bare = Graph(), msgspec.structs.replace(prepared, columns=numbers)
    session = open_graph(graph.build({FEATURES: (_numbers(graph, _declare(graph, bare), bare), "float", ["N", "K"])}))
    values = run_graph(session, arrays(frame, numbers))[0]
    return msgspec.structs.replace(prepared, scaling=_scaling(values))


def add_features(graph: Graph, prepared: Preparation) -> str:
    """Declare the inputs and add the nodes that prepare them; gives the features, float32 [rows, features]."""
    inputs = _declare(graph, prepared)
    if prepared.style == "trees":
        codes = [_encode(graph, inputs[levels.column], levels) for levels in prepared.levels]
        return _rows(graph, [*_vectors(inputs, prepared), *codes], inputs, prepared)
    parts = []
    if prepared.scaling is not None:
        parts += _scaled(graph, _numbers(graph, inputs, prepared), prepared.scaling)
    parts += [_one_hot(graph, inputs[levels.column], levels) for levels in prepared.levels if levels.values]
    return parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)


def features(frame: pl.DataFrame, prepared: Preparation) -> Array:
    """Prepare the rows of *frame* by running the nodes that a model carries."""
    return run_preparation(arrays(frame, prepared.columns), prepared)


def run_preparation(values: dict[str, Array], prepared: Preparation) -> Array:
    """Prepare columns that are given as `columns.arrays` makes them."""
    graph = Graph()
    session = open_graph(graph.build({FEATURES: (add_features(graph, prepared), "float", ["N", "F"])}))
    return run_graph(session, values)[0]


# Learned from the rows ------------------------------------------------------------------------------------------------


def _levels(series: pl.Series, truth: Array, classes: int, style: Style) -> Levels:
    table = pl.DataFrame({"level": series.cast(pl.String).fill_null("")}).with_columns(
        pl.Series(f"t{place}", column) for place, column in enumerate(_responses(truth, classes))
    )
    counted = (
        table.group_by("level")
        .agg(pl.len().alias("rows"), pl.exclude("level").sum())
        .sort(["rows", "level"], descending=[True, False])
    )
    most, fewest = (_TREE_LEVELS, max(3, len(series) // 5000)) if style == "trees" else (_LINEAR_LEVELS, 5)
    kept = counted.head(most).filter((pl.col("rows") >= fewest) | (pl.int_range(pl.len()) == 0))
    values = kept["level"].to_list()
    seen = [level for level in counted["level"].to_list()[:_TREE_LEVELS] if level]
    if style == "linear":
        return Levels(series.name, values, [float(place) for place in range(len(values))], float(len(values)), seen)
    groups = kept.drop("level")
    if len(counted) > len(kept):
        groups = pl.concat([groups, counted.filter(~pl.col("level").is_in(values)).drop("level").sum()])
    ranks = _ranks(groups.to_numpy())
    other = ranks[-1] if len(counted) > len(kept) else float("nan")
    return Levels(series.name, values, ranks[: len(values)], other, seen)


def _responses(truth: Array, classes: int) -> list[Array]:
    if classes <= 2:
        return [truth.astype(float)]
    return [(truth == place).astype(float) for place in range(classes)]


def _ranks(table: Array) -> list[float]:
    rows, sums = table[:, 0].astype(float), table[:, 1:].astype(float)
    average = sums.sum(axis=0) / max(rows.sum(), 1.0)
    means = (sums + _SMOOTHING * average) / (rows + _SMOOTHING)[:, None]
    if means.shape[1] > 1:
        # Several classes: order by the direction along which the levels differ most (Coppersmith, Hong & Hosking 1999).
        _, _, directions = np.linalg.svd((means - average) * np.sqrt(rows)[:, None], full_matrices=False)
        means = means @ directions[0][:, None]
    return [float(rank) for rank in np.argsort(np.argsort(means[:, 0], kind="stable"), kind="stable")]


def _moments(frame: pl.DataFrame, columns: Sequence[Column], style: Style, time: str | None) -> list[int]:
    """Choose the parts of each date column that vary and that recur within the span of the rows."""
    dates = [column.name for column in columns if column.kind == "datetime"]
    kept = []
    for part, name in enumerate(_all_parts(style)):
        base = name.removeprefix("sin ").removeprefix("cos ")
        if style == "linear" and name in _WAVES:
            continue
        kept += [part * len(dates) + at for at, date in enumerate(dates) if _varies(frame[date], base, date == time)]
    return kept


def _varies(series: pl.Series, part: str, is_time: bool) -> bool:
    milliseconds = series.cast(pl.Datetime("ms")).cast(pl.Int64).drop_nulls()
    low, high = milliseconds.min(), milliseconds.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    if part == "days":
        return not is_time
    if part == "hour":
        return bool((milliseconds % _DAY_MS != 0).any())
    return high - low >= _SPAN_DAYS[part] * _DAY_MS


def _all_parts(style: Style) -> list[str]:
    waves = [f"{wave} {part}" for wave in ("sin", "cos") for part in _WAVES] if style == "linear" else []
    return [*_PARTS, *waves]


def _scaling(numbers: Array) -> Scaling:
    missing = np.isnan(numbers)
    share = missing.mean(axis=0)
    some = np.where(missing.all(axis=0), np.float32(0), numbers)
    fill = np.nanmedian(some, axis=0)
    low, high = np.nanmin(some, axis=0).astype(float), np.nanmax(some, axis=0).astype(float)
    filled = np.where(missing, fill, numbers).astype(float)
    spread = filled.std(axis=0)
    with np.errstate(divide="ignore"):
        factor = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(fill)), 1 / spread, 0.0)
    return Scaling(
        fill=fill.astype(np.float32),
        low=np.clip(2 * low - high, -_LARGEST, _LARGEST).astype(np.float32),
        high=np.clip(2 * high - low, -_LARGEST, _LARGEST).astype(np.float32),
        centre=filled.mean(axis=0).astype(np.float32),
        factor=factor.astype(np.float32),
        flagged=[int(place) for place in np.flatnonzero((share >= 0.01) & (share <= 0.99))],
    )


# Nodes ----------------------------------------------------------------------------------------------------------------


def _declare(graph: Graph, prepared: Preparation) -> dict[str, str]:
    elements = {"categorical": "string", "datetime": "long"}
    return {column.name: graph.input(column.name, elements.get(column.kind, "float")) for column in prepared.columns}


def _has_numbers(prepared: Preparation) -> bool:
    return bool(prepared.moments) or any(column.kind in ("numeric", "boolean") for column in prepared.columns)


def _vectors(inputs: dict[str, str], prepared: Preparation) -> list[str]:
    return [inputs[column.name] for column in prepared.columns if column.kind in ("numeric", "boolean")]


def _numbers(graph: Graph, inputs: dict[str, str], prepared: Preparation) -> str:
    return _rows(graph, _vectors(inputs, prepared), inputs, prepared)


def _rows(graph: Graph, vectors: list[str], inputs: dict[str, str], prepared: Preparation) -> str:
    """Join vectors and the parts of dates into [rows, features]; in few nodes, as each costs every request time."""
    stacked = []
    if vectors:
        joined = vectors[0] if len(vectors) == 1 else graph.node("Concat", *vectors, axis=0)
        stacked.append(graph.node("Reshape", joined, graph.longs(len(vectors), -1)))
    if prepared.moments:
        stacked.append(_date_parts(graph, inputs, prepared))
    whole = stacked[0] if len(stacked) == 1 else graph.node("Concat", *stacked, axis=0)
    return graph.node("Transpose", whole, perm=[1, 0])


def _date_parts(graph: Graph, inputs: dict[str, str], prepared: Preparation) -> str:
    dates = [inputs[column.name] for column in prepared.columns if column.kind == "datetime"]
    given = dates[0] if len(dates) == 1 else graph.node("Concat", *dates, axis=0)
    missing = graph.node("Equal", given, graph.scalar(NULL_LONG, np.int64))
    moment = graph.node("Where", missing, graph.scalar(0, np.int64), given)
    of_day = graph.node("Mod", moment, graph.scalar(_DAY_MS, np.int64))
    day = graph.node("Div", graph.node("Sub", moment, of_day), graph.scalar(_DAY_MS, np.int64))
    place = graph.node("Mod", day, graph.scalar(_CYCLE_DAYS, np.int64))
    looked_up = graph.node("Gather", graph.constant(_calendar()), place, axis=1)
    hour = graph.node("Div", graph.node("Cast", of_day, to=1), graph.scalar(3_600_000))
    first = graph.longs(0)
    rows = [graph.node("Unsqueeze", part, first) for part in (graph.node("Cast", day, to=1), hour)]
    parts = graph.node("Concat", *rows, graph.node("Cast", looked_up, to=1), axis=0)
    if prepared.style == "linear":
        parts = _with_waves(graph, parts)
    parts = graph.node("Where", missing, graph.scalar(float("nan")), parts)
    flat = graph.node("Reshape", parts, graph.longs(len(_all_parts(prepared.style)) * len(dates), -1))
    return graph.node("Gather", flat, graph.longs(*prepared.moments), axis=0)


def _with_waves(graph: Graph, parts: str) -> str:
    turning = graph.node("Slice", parts, graph.longs(1), graph.longs(1 + len(_WAVES)), graph.longs(0))
    speed = np.array([[2 * np.pi / period] for period in _WAVES.values()], dtype=np.float32)
    angle = graph.node("Mul", turning, graph.constant(speed))
    return graph.node("Concat", parts, graph.node("Sin", angle), graph.node("Cos", angle), axis=0)


@lru_cache(maxsize=1)
def _calendar() -> Array:
    """Give month, weekday (0 is Thursday, that of 1970-01-01) and day of month of each day of 400 years from 1970."""
    days = np.arange(_CYCLE_DAYS)
    dates = days.astype("datetime64[D]")
    month = dates.astype("datetime64[M]")
    return np.stack([month.astype(int) % 12 + 1, days % 7, (dates - month).astype(int) + 1]).astype(np.uint8)


def _encode(graph: Graph, column: str, levels: Levels) -> str:
    return graph.node(
        "LabelEncoder",
        column,
        domain=ML,
        keys_strings=levels.values or ["\0"],
        values_floats=levels.codes or [0.0],
        default_float=levels.other,
    )


def _one_hot(graph: Graph, column: str, levels: Levels) -> str:
    place = graph.node(
        "LabelEncoder",
        column,
        domain=ML,
        keys_strings=levels.values,
        values_int64s=[int(code) for code in levels.codes],
        default_int64=int(levels.other),
    )
    # The code of the rest lies outside of the depth: it switches no column on.
    switch = graph.constant(np.array([0, 1], dtype=np.float32))
    return graph.node("OneHot", place, graph.scalar(len(levels.values), np.int64), switch, axis=-1)


def _scaled(graph: Graph, numbers: str, scaling: Scaling) -> list[str]:
    missing = graph.node("IsNaN", numbers)
    filled = graph.node("Where", missing, graph.constant(scaling.fill), numbers)
    held = graph.node("Min", graph.node("Max", filled, graph.constant(scaling.low)), graph.constant(scaling.high))
    centred = graph.node("Sub", held, graph.constant(scaling.centre))
    parts = [graph.node("Mul", centred, graph.constant(scaling.factor))]
    if scaling.flagged:
        flags = graph.node("Gather", missing, graph.longs(*scaling.flagged), axis=1)
        parts.append(graph.node("Cast", flags, to=1))
    return parts
