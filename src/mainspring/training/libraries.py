"""The libraries that only training needs: imported when they are used, their absence said with the remedy."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mainspring.core.errors import MissingExtra

LIBRARIES = ("sklearn", "optuna", "onnx")
"""What every training imports."""


def library(module: str) -> Any:
    """Import a module of the ``train`` extra; raises MissingExtra when the extra is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        if missing != module.partition(".")[0]:
            raise
        raise MissingExtra(f"training needs {missing}: pip install 'mainspring[train]'", module=missing) from None


def require_libraries() -> None:
    """Look, importing nothing, whether the ``train`` extra is installed; raises MissingExtra when it is not."""
    missing = next((module for module in LIBRARIES if find_spec(module) is None), None)
    if missing is not None:
        raise MissingExtra(f"training needs {missing}: pip install 'mainspring[train]'", module=missing)
