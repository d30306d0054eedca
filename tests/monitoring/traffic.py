"""Logged traffic of a small classifier: two numbers and a category, written to a real spool."""

from pathlib import Path

import numpy as np
import polars as pl

from mainspring.core.ids import new_id
from mainspring.monitoring.learning import Scored
from mainspring.predictions.model import LabelFact, PredictionBatch, PredictionItem, encode_fact
from mainspring.registry.signature import Field, ModelInfo, Signature
from mainspring.runtime.spool import SpoolWriter

INFO = ModelInfo(
    signature=Signature([Field("x", "double"), Field("y", "double"), Field("plan", "string")], []),
    task="binary",
    classes=["no", "yes"],
    metric="accuracy",
)
AT_US = 1_767_225_600_000_000


class Traffic:
    """Rows of one stationary process, and of what it becomes."""

    def __init__(self, spool: Path, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self._spool = spool
        self._seconds = 0

    def frame(self, rows: int, shift: float = 0.0) -> pl.DataFrame:
        x, y = self.rng.normal(shift, 1, rows), self.rng.normal(5, 2, rows)
        return pl.DataFrame({"x": x, "y": y, "plan": self.rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])})

    def answers(self, frame: pl.DataFrame, accuracy: float = 0.9) -> Scored:
        chance = 1 / (1 + np.exp(-3 * frame["x"].to_numpy()))
        label = np.where(chance > 0.5, "yes", "no")
        right = self.rng.random(len(label)) < accuracy
        truth = np.where(right, label, np.where(label == "yes", "no", "yes"))
        outputs = {"label": label.tolist(), "probabilities": np.column_stack([1 - chance, chance]).tolist()}
        return Scored(outputs, truth.tolist())

    def serve(
        self,
        rows: int,
        *,
        shift: float = 0.0,
        accuracy: float = 0.9,
        labelled: bool = True,
        release: str = "release:churn@1",
        refused: int = 0,
        step_s: int = 60,
        drop: str | None = None,
    ) -> None:
        frame = self.frame(rows, shift)
        scored = self.answers(frame, accuracy)
        records: list[bytes] = []
        items: list[PredictionItem] = []
        for row, values in enumerate(frame.iter_rows()):
            self._seconds += step_s
            at_us = AT_US + self._seconds * 1_000_000
            outputs = [[scored.outputs[name][row]] for name in ("label", "probabilities")]
            kept = [[value] for name, value in zip(frame.columns, values, strict=True) if name != drop]
            items.append(PredictionItem(new_id(), at_us, None, at_us, 500, 200, 1, kept, outputs))
            if labelled:
                records.append(encode_fact(LabelFact("churn", items[-1].id, scored.truth[row], at_us)))
        at_us = AT_US + self._seconds * 1_000_000
        for _ in range(refused):
            items.append(PredictionItem(new_id(), at_us, None, at_us, 100, 422, 1, [], [], "x is missing"))
        names = [name for name in frame.columns if name != drop]
        batch = PredictionBatch("churn", "model:churn@1", release, "stable", names, ["label", "probabilities"], items)
        writer = SpoolWriter(self._spool / "w1")
        writer.append_many([encode_fact(batch), *records])
        writer.close()
