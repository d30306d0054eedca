"""What only PostgreSQL can get wrong: servers that are not there, or take no writes."""

from __future__ import annotations

import pytest

from mainspring.core.errors import Unavailable
from mainspring.storage.sql.database import open_database
from mainspring.testing.sql import scratch


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_is_not_told() -> None:
    database = open_database("postgresql://nobody:secret@127.0.0.1:1/none?password=secret")
    with pytest.raises(Unavailable, match="does not work") as told, database.begin():
        pass
    assert "secret" not in str(told.value)


def test_a_server_that_takes_no_writes_is_unavailable_and_says_what_to_do(postgresql_url: str) -> None:
    database = open_database(f"{postgresql_url}?options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(Unavailable, match="give the URL of the primary"), database.begin() as connection:
        scratch.create_all(connection)
    database.close()


def test_a_connection_that_the_server_ended_is_unavailable_and_the_next_one_works(postgresql_url: str) -> None:
    database = open_database(postgresql_url)
    with pytest.raises(Unavailable, match="does not work"), database.begin() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    database.close()
