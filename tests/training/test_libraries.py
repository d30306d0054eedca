import subprocess
import sys

import pytest

from mainspring.core.errors import MissingExtra
from mainspring.training.libraries import library


def test_a_missing_library_is_said_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mainspring\[train\]'"):
        library("optuna")


def test_training_can_be_imported_without_its_libraries():
    heavy = "('sklearn', 'optuna', 'onnx', 'scipy', 'pandas')"
    code = f"import sys, mainspring.training.service; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "[]"
