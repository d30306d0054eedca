"""Since when the answers are worse, as the pipeline reads it from the log."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from mainspring.loop.retraining import Plan, answers_worse_since
from mainspring.registry.signature import ModelInfo, Signature

INFO = ModelInfo(signature=Signature(inputs=[], outputs=[]), task="binary", classes=["no", "yes"], target="y")
PLAN = Plan(name="churn", target="y", dataset="dataset:churn@1", recent=600, fewest_recent=150)


def logged(*parts: tuple[str, int, float]) -> pl.DataFrame:
    """Rows in time order: (release, rows, share of wrong answers)."""
    rng, rows = np.random.default_rng(4), list[dict[str, object]]()
    for release, count, share in parts:
        for wrong in rng.random(count) < share:
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=len(rows))
            answer = "no" if wrong else "yes"
            output = f'{{"label":"{answer}"}}'
            rows.append(
                {"release": release, "at": at, "event_time": None, "prediction_id": f"{len(rows):05}"}
                | {"label": '"yes"', "output": output}
            )
    return pl.DataFrame(rows, schema_overrides={"event_time": pl.Datetime("us", "UTC")}).sample(
        fraction=1, shuffle=True, seed=1
    )


def test_a_release_that_began_just_before_a_change_is_held_against_what_served_before_it():
    rows = logged(("old", 900, 0.15), ("new", 170, 0.75))
    found = answers_worse_since(rows, "new", INFO, PLAN)
    assert found is not None
    assert abs(found - 170) <= 30


def test_what_was_bad_before_a_release_that_healed_it_is_no_change_for_the_worse():
    rows = logged(("old", 900, 0.7), ("new", 700, 0.15))
    assert answers_worse_since(rows, "new", INFO, PLAN) is None
