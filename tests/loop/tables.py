"""Tables that drift in known ways, and tables that do not: seeded, so that each can be made again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[Any]

HALF_HOURS_A_DAY = 48


def ar1(rng: np.random.Generator, rows: int, memory: float) -> Array:
    """A series of unit variance whose neighbours correlate by *memory*."""
    noise = rng.normal(size=rows) * np.sqrt(1 - memory**2)
    series = np.empty(rows)
    state = rng.normal()
    for row in range(rows):
        state = memory * state + noise[row]
        series[row] = state
    return series


def electricity(rows: int = 45_312, seed: int = 0) -> pl.DataFrame:
    """Prices of electricity every half hour: is the price above its mean of the last day?

    The level of prices and what moves them change slowly and, twice, from one day to the next. The columns of the
    neighbouring state stand still until a market opens, after 39 % of the rows.
    """
    rng = np.random.default_rng(seed)
    moment = np.arange(rows)
    period, day = moment % HALF_HOURS_A_DAY, moment // HALF_HOURS_A_DAY
    share = moment / rows
    cycle = np.sin(2 * np.pi * (period - 14) / HALF_HOURS_A_DAY) + 0.4 * np.sin(4 * np.pi * period / HALF_HOURS_A_DAY)
    weekend = (day % 7 >= 5).astype(float)
    season = np.cos(2 * np.pi * share * 2.6)
    demand = 0.45 + 0.12 * cycle - 0.06 * weekend + 0.05 * season + 0.04 * ar1(rng, rows, 0.97)
    # What the demand of the hour says of the price turns over time; evenings become dear, then mornings.
    evening = np.sin(2 * np.pi * (period - 22) / HALF_HOURS_A_DAY)
    turn = np.clip((share - 0.45) / 0.25, 0, 1) + 0.6 * (share > 0.8)
    pull = (1 - 1.3 * turn) * (demand - 0.45) / 0.12 + 1.2 * turn * evening
    level = 0.06 - 0.03 * share + 0.03 * (share > 0.62)
    price = level * np.exp(0.35 * pull + 0.30 * ar1(rng, rows, 0.9))
    opened = moment >= int(0.392 * rows)
    neighbour = np.where(opened, 0.4 * price + 0.004 * (1 + ar1(rng, rows, 0.95)).clip(0), 0.003467)
    recent = np.convolve(price, np.ones(HALF_HOURS_A_DAY) / HALF_HOURS_A_DAY)[:rows]
    return pl.DataFrame(
        {
            "date": (day / day.max()).round(6),
            "day": (day % 7 + 1).astype(str),
            "period": (period / 47).round(6),
            "nswprice": price.round(6),
            "nswdemand": demand.clip(0, 1).round(6),
            "vicprice": neighbour.round(6),
            "vicdemand": np.where(opened, demand + 0.05 * ar1(rng, rows, 0.95), 0.422915).round(6),
            "transfer": np.where(opened, 0.5 - 0.2 * pull / 3 + 0.05 * ar1(rng, rows, 0.9), 0.414912).round(6),
            "class": np.where(price > recent, "UP", "DOWN"),
        }
    )


def flip(rows: int = 6_000, seed: int = 0, at: float = 0.6) -> pl.DataFrame:
    """What the columns say of the class turns into its opposite at one row."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    sign = np.where(np.arange(rows) < at * rows, 1.0, -1.0)
    chance = 1 / (1 + np.exp(-2.5 * (sign * x[:, 0] + 0.7 * x[:, 1])))
    return _with_class(x, rng.random(rows) < chance)


def changed_unit(rows: int = 6_000, seed: int = 0, at: float = 0.6) -> pl.DataFrame:
    """A column comes in another unit from one row on; what it means for the class stays."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    chance = 1 / (1 + np.exp(-2.5 * (x[:, 0] + 0.5 * x[:, 1])))
    seen = x.copy()
    seen[int(at * rows) :, 0] = x[int(at * rows) :, 0] * 1.8 + 32
    return _with_class(seen, rng.random(rows) < chance)


def rotating(rows: int = 12_000, seed: int = 0) -> pl.DataFrame:
    """The plane that parts three classes turns slowly, all the time."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    angle = np.pi * np.arange(rows) / rows
    score = np.cos(angle) * x[:, 0] + np.sin(angle) * x[:, 1] + 0.3 * rng.normal(size=rows)
    names = np.array(["low", "middle", "high"])
    frame = pl.DataFrame({f"x{number}": x[:, number] for number in range(5)})
    return frame.with_columns(pl.Series("class", names[np.digitize(score, [-0.5, 0.5])]))


def changing_coefficients(rows: int = 8_000, seed: int = 0) -> pl.DataFrame:
    """A number whose dependence on the columns changes slowly, and once suddenly; with dates, categories and gaps."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    kind = rng.choice(["small", "medium", "large"], rows)
    share = np.arange(rows) / rows
    first = 3 - 2 * share - 2.5 * (share > 0.7)
    number = first * x[:, 0] + 1.5 * x[:, 1] + 2 * (kind == "large") + rng.normal(size=rows)
    start = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "at": [start + timedelta(hours=hour) for hour in range(rows)],
            "a": np.where(rng.random(rows) < 0.05, np.nan, x[:, 0]),
            "b": x[:, 1],
            "c": x[:, 2],
            "kind": kind,
            "sold": number,
        }
    ).with_columns(pl.col("a").fill_nan(None))


def independent(rows: int = 6_000, seed: int = 0) -> pl.DataFrame:
    """Rows that are drawn alike and independently: nothing ever changes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    kind = rng.choice(["red", "green", "blue"], rows, p=[0.5, 0.3, 0.2])
    logit = 1.5 * x[:, 0] - x[:, 1] * x[:, 2] + (kind == "red")
    return _with_class(x, rng.random(rows) < 1 / (1 + np.exp(-logit))).with_columns(pl.Series("kind", kind))


def seasonal(rows: int = 6_000, seed: int = 0) -> pl.DataFrame:
    """A steady process with a daily cycle and long memory: neighbours are alike, but nothing changes for good."""
    rng = np.random.default_rng(seed)
    hour = np.arange(rows) % 24
    x = np.stack([ar1(rng, rows, 0.9) for _ in range(3)], axis=1)
    warm = np.sin(2 * np.pi * hour / 24) + 0.5 * ar1(rng, rows, 0.9)
    logit = 1.5 * x[:, 0] + warm - 0.5 * x[:, 1]
    frame = _with_class(x, rng.random(rows) < 1 / (1 + np.exp(-logit)))
    start = datetime(2024, 1, 1)
    return frame.with_columns(
        pl.Series("hour", hour),
        pl.Series("warm", warm),
        pl.Series("at", [start + timedelta(hours=h) for h in range(rows)]),
    )


def _with_class(x: Array, positive: Array) -> pl.DataFrame:
    frame = pl.DataFrame({f"x{number}": x[:, number] for number in range(x.shape[1])})
    return frame.with_columns(pl.Series("class", np.where(positive, "yes", "no")))


DRIFTING: dict[str, Callable[..., pl.DataFrame]] = {
    "electricity": electricity,
    "flip": flip,
    "changed_unit": changed_unit,
    "rotating": rotating,
    "changing_coefficients": changing_coefficients,
}
STEADY: dict[str, Callable[..., pl.DataFrame]] = {"independent": independent, "seasonal": seasonal}
