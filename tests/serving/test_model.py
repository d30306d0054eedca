"""The snapshot payload says everything that a worker serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.core.errors import Corrupt
from mainspring.serving.model import FeatureBinding, decode_state, encode_state
from tests.serving import models


def test_a_state_survives_its_payload(tmp_path: Path) -> None:
    arms = [models.arm(models.sum_model(tmp_path / f"m{n}", n), n, task="binary", classes=["a", "b"]) for n in (1, 2)]
    binding = FeatureBinding(view="feature_view:people@1", key="user", columns=["age"])
    state = models.state(models.endpoint(arms[0], arms[1], 0.25, features=binding))
    assert decode_state(encode_state(state)) == state
    assert arms[1].version == "2"


def test_a_payload_of_something_else_is_corrupt() -> None:
    for payload in (b"", b"[]", b'{"endpoints": [{"name": "x"}]}'):
        with pytest.raises(Corrupt, match="publish the state again"):
            decode_state(payload)


def test_fields_that_a_newer_publisher_adds_are_let_be() -> None:
    assert decode_state(b'{"version": 3, "endpoints": [], "colour": "blue"}').version == 3
