"""Labels become facts of the spool, or the whole call is refused."""

from __future__ import annotations

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.predictions.model import LabelFact, decode_fact
from mainspring.serving.labels import label_facts


def test_values_of_every_kind_become_facts() -> None:
    body = b'{"labels": [{"id": "a", "value": 1}, {"id": "b", "value": "yes"}, {"id": "c", "value": true}, '
    facts = [decode_fact(fact) for fact in label_facts("churn", body + b'{"id": "d.1", "value": 0.5}]}')]
    assert all(isinstance(fact, LabelFact) and fact.endpoint == "churn" and fact.at_us > 0 for fact in facts)
    assert [(fact.id, fact.value) for fact in facts if isinstance(fact, LabelFact)] == [
        ("a", 1),
        ("b", "yes"),
        ("c", True),
        ("d.1", 0.5),
    ]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b'{"labels": [{"id": "a", "value": null}]}', b'{"labels": [{"id": "", "value": 1}]}'],
)
def test_anything_else_is_refused_with_the_expected_form(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="expected"):
        label_facts("churn", body)
