"""What is learned of a model's answers."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

from mainspring.monitoring.dispersion import for_window
from mainspring.monitoring.learning import Scored, learn
from mainspring.monitoring.model import Settings
from mainspring.registry.signature import Field, ModelInfo, Signature


def test_how_alike_neighbouring_answers_are_is_learned_from_all_rows_and_what_is_normal_from_those_not_fitted_to():
    rng = np.random.default_rng(1)
    noise, state, slow = rng.normal(size=3_000), 0.0, np.empty(3_000)
    for row in range(len(slow)):
        state = slow[row] = 0.98 * state + 0.2 * noise[row]
    held_out = {"prediction": slow[-300:]}
    info = ModelInfo(
        signature=Signature(inputs=[Field(name="x", type="float64")], outputs=[]), task="regression", target="y"
    )

    def factor(scored: Scored) -> float:
        reference = learn(
            pl.DataFrame({"x": slow[:-300]}),
            info,
            scored,
            endpoint="e",
            release="release:e@1",
            model=None,
            dataset=None,
            settings=Settings(),
            ordered=True,
            at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        assert reference.predictions is not None
        assert sum(reference.predictions.counts) == 300
        learnt = reference.predictions.shares
        assert len(learnt) > 0
        return for_window(learnt, 75, 9).certainty

    alone = factor(Scored(held_out, slow[-300:].tolist()))
    with_fitted = factor(Scored(held_out, slow[-300:].tolist(), {"prediction": slow[:-300]}))
    assert with_fitted > 2 * alone
