"""The kinds of model that training tries: how each is built from parameters, and which parameters are worth trying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from mainspring.registry.quality import Array, Scores
from mainspring.registry.signature import Task
from mainspring.training.libraries import library
from mainspring.training.preparation import Style

Parameters = dict[str, Any]
MAX_TREES = 150
_MAX_TREES_OF_CLASSES = 300


class Learning(msgspec.Struct, frozen=True):
    """What a candidate learns from: features, encoded target, weights, and later rows that tell it when to stop."""

    features: Array
    truth: Array
    weights: Array | None = None
    stop_features: Array | None = None
    stop_truth: Array | None = None


class Problem(msgspec.Struct, frozen=True):
    """What every candidate has to know: the task, how many classes (0 for numbers), the metric and the seed."""

    task: Task
    classes: int
    metric: str
    seed: int


class Candidate(msgspec.Struct, frozen=True):
    """A kind of model.

    ``build`` makes an estimator from parameters, ``suggest`` draws parameters from an Optuna trial, ``start`` are
    those to try first, ``stops`` tells that it can stop by other rows. ``max_rows`` bounds what it learns from.
    """

    name: str
    style: Style
    build: Callable[[Problem, Parameters], Any]
    suggest: Callable[[Any], Parameters]
    start: list[Parameters]
    stops: bool = False
    max_rows: int = 300_000


class Fitted(msgspec.Struct, frozen=True):
    """A fitted estimator; of numbers it gives (value - centre) / spread."""

    candidate: str
    parameters: Parameters
    estimator: Any
    problem: Problem
    centre: float = 0.0
    spread: float = 1.0


def fit(candidate: Candidate, problem: Problem, parameters: Parameters, learning: Learning) -> Fitted:
    """Fit a candidate. Learning stops early on the stop rows where there are any; the parameters then say where."""
    centre, spread = (0.0, 1.0) if problem.classes else _scale(learning.truth)
    truth = learning.truth if problem.classes else (learning.truth - centre) / spread
    estimator = candidate.build(problem, parameters)
    more: dict[str, Any] = {}
    if candidate.stops and learning.stop_features is not None and learning.stop_truth is not None:
        stop_truth = learning.stop_truth if problem.classes else (learning.stop_truth - centre) / spread
        known = np.isin(stop_truth, truth) if problem.classes else np.ones(len(stop_truth), dtype=bool)
        if known.any():
            estimator.set_params(early_stopping=True, n_iter_no_change=10, tol=1e-5)
            more = {"X_val": learning.stop_features[known], "y_val": stop_truth[known]}
    estimator.fit(_without_empty(learning.features), truth, sample_weight=learning.weights, **more)
    if more:
        parameters = {**parameters, "trees": max(1, int(estimator.n_iter_))}
    return Fitted(candidate.name, parameters, estimator, problem, centre, spread)


def _without_empty(features: Array) -> Array:
    # scikit-learn cannot bin a feature that is missing in every row; a constant is as meaningless, and is never used.
    empty = np.isnan(features).all(axis=0)
    return np.where(empty, np.float32(0), features) if empty.any() else features


def score(fitted: Fitted, features: Array) -> Scores:
    """Give what a fitted estimator answers; a class that it never saw has the probability 0."""
    if not fitted.problem.classes:
        return Scores(fitted.estimator.predict(features).reshape(-1).astype(float) * fitted.spread + fitted.centre)
    probabilities = np.zeros((len(features), fitted.problem.classes))
    probabilities[:, fitted.estimator.classes_.astype(int)] = fitted.estimator.predict_proba(features)
    return Scores(probabilities.argmax(axis=1), probabilities)


def _scale(truth: Array) -> tuple[float, float]:
    spread = float(truth.std())
    return float(truth.mean()), spread if spread > 0 else 1.0


def _linear(problem: Problem, parameters: Parameters) -> Any:
    models = library("sklearn.linear_model")
    if problem.classes:
        return models.LogisticRegression(C=parameters["strength"], max_iter=200, tol=1e-3)
    return models.Ridge(alpha=1 / parameters["strength"])


def _boosting(problem: Problem, parameters: Parameters) -> Any:
    ensemble = library("sklearn.ensemble")
    settings = {
        "max_iter": _iterations(problem, parameters["trees"]),
        "learning_rate": parameters["rate"],
        "max_leaf_nodes": parameters["leaves"],
        "min_samples_leaf": parameters["leaf_rows"],
        "l2_regularization": parameters["l2"],
        "early_stopping": False,
        "random_state": problem.seed,
    }
    if problem.classes:
        return ensemble.HistGradientBoostingClassifier(**settings)
    loss = "absolute_error" if problem.metric == "mae" else "squared_error"
    return ensemble.HistGradientBoostingRegressor(loss=loss, **settings)


def _iterations(problem: Problem, trees: int) -> int:
    # One iteration grows a tree for each of several classes.
    return trees if problem.classes <= 2 else max(10, min(trees, _MAX_TREES_OF_CLASSES // problem.classes))


def _extra_trees(problem: Problem, parameters: Parameters) -> Any:
    ensemble = library("sklearn.ensemble")
    kind = ensemble.ExtraTreesClassifier if problem.classes else ensemble.ExtraTreesRegressor
    return kind(
        n_estimators=60,
        max_leaf_nodes=parameters["leaves"],
        min_samples_leaf=parameters["leaf_rows"],
        max_features=parameters["columns"],
        random_state=problem.seed,
        n_jobs=1,
    )


def _suggest_linear(trial: Any) -> Parameters:
    return {"strength": trial.suggest_float("linear.strength", 1e-3, 30.0, log=True)}


def _suggest_boosting(trial: Any) -> Parameters:
    return {
        "rate": trial.suggest_float("boosting.rate", 0.03, 0.3, log=True),
        "leaves": trial.suggest_int("boosting.leaves", 4, 48, log=True),
        "leaf_rows": trial.suggest_int("boosting.leaf_rows", 5, 100, log=True),
        "l2": trial.suggest_float("boosting.l2", 1e-3, 10.0, log=True),
        "trees": MAX_TREES,
    }


def _suggest_extra_trees(trial: Any) -> Parameters:
    return {
        "leaves": trial.suggest_int("extra_trees.leaves", 32, 200, log=True),
        "leaf_rows": trial.suggest_int("extra_trees.leaf_rows", 1, 30, log=True),
        "columns": trial.suggest_float("extra_trees.columns", 0.3, 1.0),
    }


CANDIDATES: Mapping[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate("linear", "linear", _linear, _suggest_linear, [{"strength": 1.0}], max_rows=100_000),
        Candidate(
            "boosting",
            "trees",
            _boosting,
            _suggest_boosting,
            [
                {"rate": 0.1, "leaves": 15, "leaf_rows": 20, "l2": 1.0, "trees": MAX_TREES},
                {"rate": 0.05, "leaves": 31, "leaf_rows": 40, "l2": 1.0, "trees": MAX_TREES},
            ],
            stops=True,
        ),
        Candidate(
            "extra_trees",
            "trees",
            _extra_trees,
            _suggest_extra_trees,
            [{"leaves": 128, "leaf_rows": 3, "columns": 0.6}],
            max_rows=50_000,
        ),
    )
}
