"""What is missing for training is told with the line that installs it, before anything else is done."""

from __future__ import annotations

import pytest

from mainspring.core.errors import MissingExtra
from mainspring.training import libraries
from mainspring.training.libraries import library, require_libraries


def test_what_is_installed_is_imported() -> None:
    require_libraries()
    assert library("sklearn").__name__ == "sklearn"


def test_a_missing_library_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "LIBRARIES", ("sklearn", "not_there_at_all"))
    with pytest.raises(MissingExtra, match=r"needs not_there_at_all: pip install 'mainspring\[train\]'"):
        require_libraries()
    with pytest.raises(MissingExtra, match="not_there_at_all"):
        library("not_there_at_all")
