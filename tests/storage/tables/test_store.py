"""Every table store that ships passes the suite, against the real thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.storage.locations import url_of
from mainspring.storage.tables.store import TableStore, open_tables, tables
from mainspring.testing.tables import TableStoreSuite


class TestTableStores(TableStoreSuite):
    @pytest.fixture(params=tables.names())
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> TableStore:
        if request.param == "s3":
            return open_tables(str(request.getfixturevalue("s3_url")).replace("/?", "/some/prefix?"))
        assert request.param == "file"
        return open_tables(url_of("file", tmp_path / "some tables, 100 %"))


@pytest.mark.parametrize("name", ["a#b", "a?b", "a[b]", "a^b", "a|b", "a\\b", "%41"])
def test_a_folder_whose_name_the_tables_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="delta-rs misreads"):
        open_tables(url_of("file", tmp_path / name))
