"""A pipeline that cannot run is refused before anything is recorded."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.pipelines.graph import check
from mainspring.pipelines.model import Pipeline, Step


def pipeline(**needs: list[str]) -> Pipeline:
    return Pipeline("p", [Step(name=name, function="m:f", needs=wanted) for name, wanted in needs.items()])


def test_a_graph_without_cycles_is_accepted() -> None:
    diamond = pipeline(d=["b", "c"], b=["a"], c=["a"], a=[])
    assert check(diamond) is diamond


def test_a_cycle_is_named_step_by_step() -> None:
    with pytest.raises(InvalidRequest, match=r"can never finish: .* needs .* needs "):
        check(pipeline(a=["c"], b=["a"], c=["b"]))
    with pytest.raises(InvalidRequest, match="a needs a"):
        check(pipeline(a=["a"]))


def test_an_unknown_need_is_named() -> None:
    with pytest.raises(InvalidRequest, match="step b needs x"):
        check(pipeline(a=[], b=["a", "x"]))


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Step(name="a", function="m:f"), Step(name="a", function="m:g")],
        [Step(name="a", function="m:f"), Step(name="b", function="m:f", needs=["a", "a"])],
        [Step(name="a b", function="m:f")],
        [Step(name="a", function="m.f")],
        [Step(name="a", function="m:f()")],
        [Step(name="a", function="m:f", timeout_s=0)],
        [Step(name="a", function="m:f", max_attempts=0)],
        [Step(name="a", function="m:f", backoff_s=-1)],
    ],
)
def test_what_cannot_run_is_refused(steps: list[Step]) -> None:
    with pytest.raises(InvalidRequest):
        check(Pipeline("p", steps))
