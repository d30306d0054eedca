"""The model card: what a person should know of a model before using it, as Markdown.

The headings follow Mitchell et al., Model Cards for Model Reporting, 2019, as far as a training can know the answers.
"""

from __future__ import annotations

from collections.abc import Iterator

from mainspring.training.model import TrainingResult

_SPLITS = {
    "time": "the latest fifth of the rows, which were not learned from in the search",
    "random": "a random fifth of the rows, which was not learned from in the search",
    "folds": "all rows, each judged by a model that had not learned from it",
}


def model_card(result: TrainingResult) -> str:
    """Write the card of a trained model."""
    return "\n".join([*_about(result), "", *_quality(result), "", *_columns(result), "", *_cautions(result)]) + "\n"


def _about(result: TrainingResult) -> Iterator[str]:
    parameters = ", ".join(f"{name} {value}" for name, value in result.parameters.items() if name != "candidate")
    classes = f" ({', '.join(map(str, result.classes))})" if result.classes else ""
    yield f"# {result.target}: {result.task}"
    yield ""
    yield f"Predicts `{result.target}`{classes} with {result.parameters['candidate']} ({parameters})."
    yield f"Trained on {result.rows_fitted:,} rows of `{result.dataset}` in `{result.run}`, seed {result.seed}."


def _quality(result: TrainingResult) -> Iterator[str]:
    found, better = result.validation, "higher" if result.higher_is_better else "lower"
    yield "## Quality"
    yield ""
    if found.value is None or found.low is None or found.high is None:
        yield f"{result.metric} is not defined on the judged rows."
    else:
        interval = f"[{found.low:.4g}, {found.high:.4g}] at {found.level:.0%}"
        yield f"{result.metric} {found.value:.4g} {interval} on {found.rows:,} rows ({better} is better)."
    if result.baseline is not None:
        yield f"The best answer that looks at no column reaches {result.baseline:.4g}."
    yield f"Judged on {_SPLITS[result.split]}; {len(result.trials)} candidates were tried."


def _columns(result: TrainingResult) -> Iterator[str]:
    yield "## Columns"
    yield ""
    yield f"Takes {', '.join(f'`{name}`' for name in result.columns)}."
    shown = list(result.dropped.items())[:20]
    yield from (f"- `{name}` was left out: {reason}" for name, reason in shown)
    if len(result.dropped) > len(shown):
        yield f"- and {len(result.dropped) - len(shown)} more"


def _cautions(result: TrainingResult) -> Iterator[str]:
    proof = result.proof
    yield "## Cautions"
    yield ""
    if proof.proved and proof.largest is not None:
        yield f"- served as ONNX, proved equal on {proof.rows} rows (largest difference {proof.largest:.2g})"
    else:
        yield f"- served in a process of its own: {proof.reason}"
    yield from (f"- {warning}" for warning in result.warnings)
