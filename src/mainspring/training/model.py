"""What training gives back: the trials, the proof that the exported model is the trained one, and the result."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mainspring.registry.intervals import Estimate
from mainspring.registry.signature import Engine, Task


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate that was tried, as a tracked run; ``value`` is its metric on the judged rows, None if it failed."""

    run: str
    candidate: str
    parameters: dict[str, Any]
    value: float | None
    seconds: float
    failure: str | None = None


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the exported graph answers as the trained estimator does, on *rows* rows stored with the model.

    ``largest`` is the largest difference: of a probability, or of a number in standard deviations of the target.
    ``labels_differ`` counts the rows with another label, save where the two best classes lie within the tolerance.
    ``reason`` says why there is no graph to compare.
    """

    proved: bool
    rows: int = 0
    tolerance: float = 0.0
    largest: float | None = None
    labels_differ: int = 0
    reason: str | None = None


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """A finished training: the model as a tree in the object store, and how it came to be.

    ``validation`` is the best trial's metric on rows that it did not learn from, ``baseline`` that of the trivial
    answer on the same rows; the model itself was then fitted on all rows with the best ``parameters``.
    """

    run: str
    experiment: str
    dataset: str
    digest: str
    engine: Engine
    size_bytes: int
    task: Task
    target: str
    classes: list[str | int] | None
    metric: str
    higher_is_better: bool
    validation: Estimate
    baseline: float | None
    split: Literal["time", "recent", "random", "folds"]
    rows: int
    rows_fitted: int
    columns: list[str]
    dropped: dict[str, str]
    warnings: list[str]
    parameters: dict[str, Any]
    trials: list[Trial]
    proof: Proof
    seed: int
    seconds: float
