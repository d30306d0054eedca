"""Every database that ships passes the suite, against the real thing; a URL that cannot be opened says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.storage.sql.database import open_database, sql, sqlite_url
from mainspring.testing.sql import DatabaseSuite


class TestDatabases(DatabaseSuite):
    @pytest.fixture(params=sql.names())
    def database_url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        if request.param == "postgresql":
            return str(request.getfixturevalue("postgresql_url"))
        assert request.param == "sqlite"
        return sqlite_url(tmp_path / "a %41 #1?.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://host/x",
        "sqlite:///x.db?mode=ro",
        "postgresql://me:secret@host:port/name",
        "me:secret@host",
    ],
)
def test_a_malformed_url_is_refused_with_what_to_write_and_without_its_password(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"expected|write") as refused:
        open_database(url)
    assert ":secret@" not in str(refused.value)


def test_an_unknown_scheme_names_those_that_are_known() -> None:
    with pytest.raises(NotFound, match="no sql 'mysql'; known: postgresql, sqlite"):
        open_database("mysql://me:secret@host/name")
