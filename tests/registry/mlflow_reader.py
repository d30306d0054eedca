"""The real MLflow client, whose own warnings are not ours to mend."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def open_with_mlflow(folder: Path) -> Any:
    """Open a model as a user of MLflow would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        return mlflow.pyfunc.load_model(str(folder))


def predict_with_mlflow(model: Any, frame: Any) -> Any:
    """Ask the opened model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.predict(frame)
