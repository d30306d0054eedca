"""The checks that make a pipeline runnable."""

from __future__ import annotations

import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter

from mainspring.core.errors import InvalidRequest
from mainspring.core.refs import check_name
from mainspring.pipelines.model import Pipeline, Step

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
MAX_STEPS = 1_000


def check(pipeline: Pipeline) -> Pipeline:
    """Return *pipeline*, or raise InvalidRequest that says which step is wrong and why."""
    check_name(pipeline.name, "pipeline")
    if not 1 <= len(pipeline.steps) <= MAX_STEPS:
        raise InvalidRequest(f"pipeline {pipeline.name} has {len(pipeline.steps)} steps, expected 1 to {MAX_STEPS}")
    counts = Counter(step.name for step in pipeline.steps)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InvalidRequest(f"pipeline {pipeline.name} has several steps named {', '.join(twice)}: names are unique")
    for step in pipeline.steps:
        _check_step(step, counts)
    try:
        TopologicalSorter({step.name: step.needs for step in pipeline.steps}).prepare()
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise InvalidRequest(f"pipeline {pipeline.name} can never finish: {circle}") from None
    return pipeline


def _check_step(step: Step, known: Counter[str]) -> None:
    check_name(step.name, "step")
    if not _FUNCTION.fullmatch(step.function):
        raise InvalidRequest(f"step {step.name}: {step.function!r} is not of the form module:function")
    if unknown := [name for name in step.needs if name not in known]:
        raise InvalidRequest(f"step {step.name} needs {', '.join(unknown)}, which the pipeline does not have")
    if len(set(step.needs)) < len(step.needs):
        raise InvalidRequest(f"step {step.name} names a need twice")
    if step.timeout_s <= 0 or step.max_attempts < 1 or step.backoff_s < 0:
        raise InvalidRequest(f"step {step.name}: expected timeout_s > 0, max_attempts >= 1 and backoff_s >= 0")
