"""How good the traffic was answered, and how good the first champion would have answered all of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mainspring.client.session import Session
from mainspring.datasets.arrays import arrays_of
from mainspring.loop.model import WindowQuality
from mainspring.loop.table import Split, Window
from mainspring.loop.traffic import Served
from mainspring.registry.answers import scores_of, truth_of
from mainspring.registry.intervals import compare, estimate
from mainspring.registry.model import ServableVersion
from mainspring.registry.quality import Array, Scores, default_metric, measure, metric_named
from mainspring.serving.engine.session import open_session
from mainspring.storage.objects.tree import get_tree


class Judge:
    """Knows the truth of the replayed rows, and scores them with the first champion, beside the traffic."""

    def __init__(self, session: Session, champion: ServableVersion, split: Split) -> None:
        self.info = champion.info
        self.metric = self.info.metric or default_metric(self.info.task or "binary")
        self._split = split
        self._labels: list[Any] = split.later[split.target].to_list()
        self._known = np.array([label is not None for label in self._labels])
        self._truth = self._coded(self._labels)
        self._frozen = self._scored(session, champion)

    @property
    def higher_is_better(self) -> bool:
        """Give the direction of the metric."""
        return metric_named(self.metric).higher_is_better

    def window(self, window: Window, served: Sequence[Served]) -> WindowQuality:
        """Give the metric of one window, live and frozen; None where it is not defined."""
        rows = self._rows(served, window.start, window.stop)
        live, frozen = self._live(served, rows), self._part(rows)
        return WindowQuality(
            window=window.number,
            rows=(window.start, window.stop),
            live=_defined(measure(self.metric, self._truth[rows], live)) if len(rows) else None,
            frozen=_defined(measure(self.metric, self._truth[rows], frozen)) if len(rows) else None,
            releases=sorted({one.release for one in served[window.start : window.stop] if one.release}),
        )

    def overall(self, served: Sequence[Served]) -> dict[str, Any]:
        """Give live and frozen over all answered rows with intervals of 95 %, and the interval of their difference.

        The difference is live minus frozen in the direction of the metric: more than 0 is better.
        """
        rows = self._rows(served, 0, len(served))
        truth, live, frozen = self._truth[rows], self._live(served, rows), self._part(rows)
        own = [estimate(self.metric, truth, scores) for scores in (live, frozen)]
        paired = compare(self.metric, truth, live, frozen)
        return {
            "live": own[0].value,
            "live_interval": (own[0].low, own[0].high),
            "frozen": own[1].value,
            "frozen_interval": (own[1].low, own[1].high),
            "difference_interval": (paired.low, paired.high),
        }

    def _rows(self, served: Sequence[Served], start: int, stop: int) -> Array:
        answered = np.array([one.id is not None for one in served[start:stop]], dtype=bool)
        return np.flatnonzero(answered & self._known[start:stop]) + start

    def _live(self, served: Sequence[Served], rows: Array) -> Scores:
        labels = [served[row].label for row in rows]
        if self.info.task == "regression":
            return Scores(np.array([float(np.ravel(label)[0]) for label in labels]))
        probabilities = [served[row].probabilities for row in rows]
        width = len(self.info.classes or [])
        whole = all(one is not None and len(one) == width for one in probabilities)
        table = np.array(probabilities, dtype=float).reshape(len(rows), width) if whole and width else None
        return Scores(self._coded(labels), table)

    def _part(self, rows: Array) -> Scores:
        probabilities = self._frozen.probabilities
        return Scores(self._frozen.label[rows], None if probabilities is None else probabilities[rows])

    def _coded(self, labels: Sequence[Any]) -> Array:
        if self.info.task == "regression":
            return np.array([np.nan if label is None else float(label) for label in labels])
        return truth_of(self.info, ["" if label is None else label for label in labels])

    def _scored(self, session: Session, champion: ServableVersion) -> Scores:
        names = [field.name for field in champion.info.signature.inputs]
        with tempfile.TemporaryDirectory(prefix="mainspring-champion-") as made:
            folder = Path(made) / "model"
            get_tree(session.objects, champion.digest, folder)
            opened = open_session(folder, engine=champion.engine, signature=champion.info.signature, trusted=True)
            try:
                frame: pl.DataFrame = self._split.later
                return scores_of(self.info, opened.predict(arrays_of(frame, names)))
            finally:
                opened.close()


def _defined(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
