"""Databases of every earlier schema are brought up to this one with their data, once, and newer ones are refused."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import mainspring.planes.embedded  # noqa: F401  (with it every room's tables are known)
from mainspring.core.errors import SchemaTooNew
from mainspring.planes.schema import HEAD, REVISIONS, migrate
from mainspring.storage.sql.database import Database, open_database
from mainspring.storage.sql.journal import latest_events
from mainspring.storage.sql.schema import metadata

Rows = dict[str, list[dict[str, Any]]]

MIGRATE = "import sys; from mainspring.planes.schema import migrate; from mainspring.storage.sql.database import *; "


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


def reflected(database: Database) -> sa.MetaData:
    found = sa.MetaData()
    with database.read() as connection:
        found.reflect(connection)
    return found


def fill(database: Database) -> None:
    """One row in every table. The text is JSON and the number is a key, so that each row is one of its table."""
    values = {sa.Text: "[]", sa.Boolean: True, sa.Integer: 1, sa.Float: 0.5}
    tables = reflected(database)
    with database.begin() as connection:
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            row = {
                column.name: next(value for kind, value in values.items() if isinstance(column.type, kind))
                for column in table.columns
            }
            if table.name == "events":
                row |= {"reads": '["dataset:d@1","run:r"]', "makes": '["model:m@1"]', "kind": "Trained", "body": "{}"}
            connection.execute(table.insert(), row)


def contents(database: Database) -> Rows:
    with database.read() as connection:
        return {
            table.name: sorted((dict(row._mapping) for row in connection.execute(table.select())), key=repr)
            for table in reflected(database).sorted_tables
            if table.name != "alembic_version"
        }


def differences(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_a_new_database_has_exactly_the_tables_that_the_rooms_declare(empty: Database) -> None:
    migrate(empty)
    assert differences(empty) == []


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_an_upgrade_keeps_the_data_and_ends_at_what_the_rooms_declare(empty: Database, revision: str) -> None:
    migrate(empty, revision)
    fill(empty)
    before = contents(empty)
    assert len(before) > 40
    migrate(empty)
    assert differences(empty) == []
    after = contents(empty)
    # Tags of models came to tables of their own.
    moved = {"models": {"tags"}, "model_versions": {"tags"}}
    for name, rows in before.items():
        kept = [{k: v for k, v in row.items() if k not in moved.get(name, ())} for row in rows]
        assert [{k: row[k] for k in kept[0]} for row in after[name]] == kept


def test_events_from_before_are_found_by_each_ref_that_they_name(empty: Database) -> None:
    migrate(empty, "0001")
    fill(empty)
    migrate(empty)
    with empty.read() as connection:
        for ref in ("dataset:d@1", "run:r", "model:m@1"):
            assert [event.kind for event in latest_events(connection, ref=ref)] == ["Trained"]
        assert latest_events(connection, ref="model:m@2") == []


def test_tags_of_models_from_before_come_to_their_own_tables(empty: Database) -> None:
    migrate(empty, "0003")
    fill(empty)
    with empty.begin() as connection:
        connection.execute(sa.text('UPDATE models SET tags = \'{"team": "ads"}\''))
        connection.execute(sa.text('UPDATE model_versions SET tags = \'{"a": "1", "b": "2"}\''))
    migrate(empty)
    after = contents(empty)
    assert [(row["key"], row["value"]) for row in after["model_tags"]] == [("team", "ads")]
    assert sorted((row["version"], row["key"], row["value"]) for row in after["model_version_tags"]) == [
        (1, "a", "1"),
        (1, "b", "2"),
    ]


def test_a_new_file_gets_at_once_what_all_migrations_end_at(tmp_path: Path) -> None:
    told = []
    for name, all_known in (("migrated", False), ("created", True)):
        opened = open_database(f"sqlite:///{tmp_path / name}.db")
        migrate(opened, all_known=all_known)
        assert differences(opened) == []
        with opened.read() as connection:
            rows = connection.execute(sa.text("SELECT type, name, sql FROM sqlite_master")).all()
            told.append({(kind, name): parts(sql or "") for kind, name, sql in rows})
            assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == HEAD
        opened.close()
    assert told[0] == told[1]


def test_who_does_not_know_every_room_makes_a_new_file_with_all_tables_nevertheless(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    code = f"{MIGRATE}migrate(open_database(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, url], timeout=60, check=True)
    opened = open_database(url)
    assert differences(opened) == []
    opened.close()


def parts(sql: str) -> list[str]:
    """What a statement says of a table or an index, whatever the order of its lines."""
    plain = re.sub(r"\s+", " ", sql.replace('"', ""))
    return sorted(part.strip() for part in re.split(r",\s(?![^()]*\))|[()](?=[^()]*$)|^[^(]*\(", plain) if part)


def test_processes_that_start_together_migrate_once(empty: Database, database_url: str) -> None:
    migrate(empty, "0001")
    fill(empty)
    code = f"{MIGRATE}database = open_database(sys.argv[1]); print('up', flush=True); input(); migrate(database)"
    starting = [
        subprocess.Popen(
            [sys.executable, "-c", code, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in starting:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
    for process in starting:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in starting:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    assert differences(empty) == []
    with empty.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM event_refs")).scalar_one() == 3


def test_a_migration_that_fails_half_way_leaves_the_schema_before_whole(empty: Database) -> None:
    migrate(empty, "0001")
    fill(empty)
    before = contents(empty)
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE events SET makes = 'not JSON'"))
    with pytest.raises(ValueError):
        migrate(empty)
    found = contents(empty)
    assert found.keys() == before.keys()
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE events SET makes = '[]'"))
    migrate(empty)
    assert differences(empty) == []


def test_a_database_of_a_newer_schema_is_refused_and_left_as_it_is(empty: Database) -> None:
    migrate(empty)
    with empty.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match=f"has schema 9999, this Mainspring knows up to {HEAD}.*upgrade Mainspring"):
        migrate(empty)
    with empty.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_start_with_nothing_to_do_does_not_import_alembic(empty: Database, database_url: str) -> None:
    migrate(empty)
    code = f"{MIGRATE}migrate(open_database(sys.argv[1])); print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, database_url], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
