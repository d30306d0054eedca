"""Every table store that ships passes the suite, against the real thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.storage.tables.store import TableStore, open_tables, tables
from mainspring.testing.tables import TableStoreSuite


class TestTableStores(TableStoreSuite):
    @pytest.fixture(params=tables.names())
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> TableStore:
        if request.param == "s3":
            return open_tables(str(request.getfixturevalue("s3_url")).replace("/?", "/some/prefix?"))
        assert request.param == "file"
        return open_tables((tmp_path / "tables").as_uri())
