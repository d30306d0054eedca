"""Facts as the data plane writes them."""

from mainspring.core.ids import new_id
from mainspring.predictions.model import LabelFact, PredictionBatch, PredictionItem, encode_fact

AT_US = 1_767_225_600_000_000  # 2026-01-01


def item(rows: int = 1, id: str | None = None, at_us: int = AT_US, **given: object) -> PredictionItem:
    values = [[float(row) for row in range(rows)], ["a"] * rows]
    chances = [[0.25, 0.75] for _ in range(rows)]
    facts = {"unit": "u1", "event_us": None, "latency_us": 900, "status": 200, "rows": rows, "values": values}
    return PredictionItem(id=id or new_id(), at_us=at_us, **{**facts, "outputs": [["yes"] * rows, chances], **given})


def failure(status: int = 422) -> PredictionItem:
    return item(status=status, values=[], outputs=[], error="column 'x' is missing")


def batch(
    *items: PredictionItem, endpoint: str = "churn", arm: str = "stable", release: str = "release:churn@1"
) -> bytes:
    outputs = ["label", "probabilities"]
    return encode_fact(PredictionBatch(endpoint, "model:churn@1", release, arm, ["x", "plan"], outputs, list(items)))


def label(id: str, value: str | int | float | bool, endpoint: str = "churn", at_us: int = AT_US) -> bytes:
    return encode_fact(LabelFact(endpoint, id, value, at_us))
