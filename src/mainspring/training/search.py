"""The search: candidates are fitted on the learned rows, judged on the others, and the best parameters are kept."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import polars as pl

from mainspring.core.errors import InvalidData
from mainspring.registry.intervals import compare
from mainspring.registry.quality import Array, Scores, log_loss, metric_named
from mainspring.training.candidates import Candidate, Learning, Parameters, Problem, fit, score
from mainspring.training.columns import Column
from mainspring.training.libraries import library
from mainspring.training.preparation import Style, features, prepare
from mainspring.training.split import Split

HALF_LIVES = [0.0, 0.1, 0.3, 0.03, 0.01]
_ONE_ERROR = 0.6827


class Attempt(msgspec.Struct, frozen=True):
    """A trial that was made: its scores on the judged rows (None when it failed, with the reason)."""

    candidate: str
    parameters: Parameters
    value: float | None
    scores: Scores | None
    seconds: float
    failure: str | None = None


class Ground:
    """The rows that candidates are compared on; features are prepared once per split and style."""

    def __init__(
        self, frame: pl.DataFrame, columns: Sequence[Column], truth: Array, splits: Sequence[Split], moments: str | None
    ) -> None:
        self.frame, self.columns, self.truth, self.splits, self.time = frame, columns, truth, splits, moments
        self.judged = np.concatenate([split.judge for split in splits])
        self._prepared: dict[tuple[int, Style], tuple[Array, Array]] = {}

    @property
    def ageing(self) -> bool:
        """Tell whether the rows have an order in time, so that newer ones may count for more."""
        return all(split.age is not None for split in self.splits)

    def features(self, number: int, style: Style, classes: int) -> tuple[Array, Array]:
        """Give the features of the learned and the judged rows of a split, prepared by what the learned rows tell."""
        key = (number, style)
        if key not in self._prepared:
            split = self.splits[number]
            learn = self.frame[split.learn]
            prepared = prepare(learn, self.columns, self.truth[split.learn], classes, style, time=self.time)
            self._prepared[key] = (features(learn, prepared), features(self.frame[split.judge], prepared))
        return self._prepared[key]


def weights_of(age: Array | None, half_life: float) -> Array | None:
    """Give weights that halve every *half_life* (a share of the time spanned); None when all rows count alike."""
    if age is None or half_life <= 0:
        return None
    weights = 0.5 ** (age / half_life)
    return np.asarray(weights / weights.mean())


def attempt(ground: Ground, candidate: Candidate, problem: Problem, parameters: Parameters) -> Attempt:
    """Fit a candidate on every split and score the judged rows of all together."""
    began = time.perf_counter()
    parts, grown = [], []
    try:
        for number, split in enumerate(ground.splits):
            learn, judge = ground.features(number, candidate.style, problem.classes)
            weights = weights_of(split.age, parameters.get("half_life", 0.0))
            stop = (judge, ground.truth[split.judge]) if candidate.stops else (None, None)
            fitted = fit(candidate, problem, parameters, Learning(learn, ground.truth[split.learn], weights, *stop))
            grown.append(fitted.parameters)
            parts.append(score(fitted, judge))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return Attempt(candidate.name, parameters, None, None, time.perf_counter() - began, str(error))
    scores = _joined(parts)
    metric = metric_named(problem.metric, problem.task)
    value = metric.function(ground.truth[ground.judged], scores.label, scores.probabilities)
    used = {**parameters, "trees": round(np.mean([p["trees"] for p in grown]))} if "trees" in parameters else parameters
    seconds = time.perf_counter() - began
    if not np.isfinite(value):
        return Attempt(candidate.name, used, None, None, seconds, f"{problem.metric} is not defined on the judged rows")
    return Attempt(candidate.name, used, float(value), scores, seconds)


def search(
    ground: Ground,
    problem: Problem,
    candidates: Mapping[str, Candidate],
    *,
    trials: int,
    budget_s: float,
    start_from: Parameters | None = None,
    note: Callable[[int, Attempt], None] = lambda number, attempt: None,
) -> list[Attempt]:
    """Try up to *trials* candidates within *budget_s* seconds, the sound ones first, then what Optuna's TPE proposes.

    A trial is not begun when the slowest so far would not fit into what is left. *note* hears of each as it ends.
    Raises InvalidData when none could be fitted.
    """
    optuna = library("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sign = metric_named(problem.metric).sign
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=problem.seed))
    for parameters in _first(candidates, ground.ageing, start_from)[:trials]:
        study.enqueue_trial(parameters, skip_if_exists=False)
    began, attempts = time.perf_counter(), list[Attempt]()
    while len(attempts) < trials:
        left = budget_s - (time.perf_counter() - began)
        if attempts and left < max(attempt.seconds for attempt in attempts):
            break
        with _quiet():
            trial = study.ask()
            name, parameters = _draw(trial, candidates, ground.ageing)
        made = attempt(ground, candidates[name], problem, parameters)
        note(len(attempts), made)
        attempts.append(made)
        failed = made.value is None
        study.tell(trial, None if made.value is None else sign * made.value, state=_state(optuna, failed))
    if all(made.value is None for made in attempts):
        raise InvalidData(f"no candidate could be fitted: {attempts[0].failure}")
    return attempts


def best_of(attempts: Sequence[Attempt], ground: Ground, problem: Problem) -> Attempt:
    """Give the best attempt.

    Of classifiers that the metric cannot tell apart on the judged rows (within one standard error, paired), the one
    with the smallest log loss is the best: it says more of a row than whether its label is right. Of equals the first.
    """
    sign = metric_named(problem.metric).sign
    made = [attempt for attempt in attempts if attempt.value is not None]
    best = max(made, key=lambda attempt: sign * (attempt.value or 0.0))
    if not problem.classes or best.scores is None:
        return best
    truth = ground.truth[ground.judged]
    near = [attempt for attempt in made if attempt is best or _alike(problem, truth, best.scores, attempt.scores)]
    return min(
        near, key=lambda attempt: log_loss(truth, truth, attempt.scores.probabilities if attempt.scores else None)
    )


def _probabilities(attempt: Attempt) -> Array | None:
    return None if attempt.scores is None else attempt.scores.probabilities


def _alike(problem: Problem, truth: Array, best: Scores, other: Scores | None) -> bool:
    if other is None:
        return False
    low = compare(problem.metric, truth, best, other, level=_ONE_ERROR).low
    return low is not None and low <= 0


def _first(candidates: Mapping[str, Candidate], ageing: bool, start_from: Parameters | None) -> list[dict[str, Any]]:
    recent = HALF_LIVES[1:] if ageing else []
    plain = [_named(name, candidate.start[0], 0.0) for name, candidate in candidates.items()]
    if start_from is not None and start_from.get("candidate") in candidates:
        name = start_from["candidate"]
        before = start_from.get("half_life", 0.0) if ageing else 0.0
        lives = dict.fromkeys([before, *recent[::-1], *([0.0] if ageing else [])])
        others = [parameters for parameters in plain if parameters["candidate"] != name]
        return [*(_named(name, start_from, half_life) for half_life in lives), *others]
    more = [_named(name, start, 0.0) for name, candidate in candidates.items() for start in candidate.start[1:]]
    newer = [{**parameters, "half_life": half_life} for half_life in recent[:2] for parameters in plain[:2]]
    return [*plain[:2], *newer, *more, *plain[2:]]


def _named(candidate: str, parameters: Parameters, half_life: float) -> dict[str, Any]:
    own = {f"{candidate}.{key}": value for key, value in parameters.items() if key not in ("candidate", "half_life")}
    return {"candidate": candidate, "half_life": half_life, **own}


def _draw(trial: Any, candidates: Mapping[str, Candidate], ageing: bool) -> tuple[str, Parameters]:
    name = trial.suggest_categorical("candidate", list(candidates)) if len(candidates) > 1 else next(iter(candidates))
    parameters = candidates[name].suggest(trial)
    if ageing:
        parameters["half_life"] = trial.suggest_categorical("half_life", HALF_LIVES)
    return name, parameters


def _state(optuna: Any, failed: bool) -> Any:
    return optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE


def _joined(parts: list[Scores]) -> Scores:
    label = np.concatenate([part.label for part in parts])
    if parts[0].probabilities is None:
        return Scores(label)
    return Scores(label, np.concatenate([part.probabilities for part in parts if part.probabilities is not None]))


@contextmanager
def _quiet() -> Iterator[None]:
    # Optuna warns of an enqueued value outside of the range that it would draw from; such values are meant.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
