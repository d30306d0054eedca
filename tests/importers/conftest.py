"""A platform to import into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.core.settings import Settings
from mainspring.planes.embedded import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with Platform(Settings(home=str(tmp_path / "home"))) as opened:
        assert isinstance(opened, Platform)
        yield opened
