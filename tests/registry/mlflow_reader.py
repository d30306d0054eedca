"""The real MLflow client, whose own warnings are not ours to mend."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def unwarned() -> Iterator[None]:
    """Let MLflow warn, also of what it leaves open, before the next test is blamed for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


def open_with_mlflow(folder: Path) -> Any:
    """Open a model as a user of MLflow would."""
    with unwarned():
        import mlflow

        return mlflow.pyfunc.load_model(str(folder))


def predict_with_mlflow(model: Any, frame: Any) -> Any:
    """Ask the opened model."""
    with unwarned():
        return model.predict(frame)
