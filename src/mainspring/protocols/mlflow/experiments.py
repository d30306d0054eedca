"""``experiments/...``: MLflow's experiments over ours."""

from __future__ import annotations

import msgspec

from mainspring.protocols.mlflow.calls import CallList

calls = CallList()


class GetByName(msgspec.Struct):
    """Which experiment is asked for."""

    experiment_name: str
