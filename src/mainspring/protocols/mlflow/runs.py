"""``runs/...``: MLflow's runs over ours."""

from __future__ import annotations

from mainspring.protocols.mlflow.calls import CallList

calls = CallList()
