"""The schema of the whole house: every room's tables, and the migrations that bring a database up to them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from mainspring.core.errors import SchemaTooNew
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.schema import metadata

REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
    "0017",
    "0018",
    "0019",
)
"""Every revision there is, oldest first; the files are in `migrations/versions`."""
HEAD = REVISIONS[-1]

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x736368656D61


def migrate(database: Database, to: str = HEAD, *, all_known: bool = False) -> None:
    """Bring the database up to revision *to*: in one transaction, by one process at a time, with the data kept.

    *all_known* says that this process knows the tables of every room, so that a new file may get them at once.
    Raises SchemaTooNew when the database was written by a newer Mainspring.
    """
    # Most starts find everything done: then alembic, which takes a tenth of a second to import, is not needed.
    with database.read() as connection:
        if _current(connection) == to:
            return
    with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _current(connection) == to:
            return
        is_new = connection.dialect.name == "sqlite" and not inspect(connection).get_table_names()
        if is_new and all_known and to == HEAD:
            _create(connection)
        else:
            _upgrade(connection, to)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is not None and found not in REVISIONS:
        raise SchemaTooNew(
            f"the database has schema {found}, this Mainspring knows up to {HEAD}: upgrade Mainspring, or restore the "
            "backup from before the upgrade",
            schema=found,
        )
    return found


def _create(connection: Connection) -> None:
    # What all migrations end at, a test says so; a new home need not go their way, which takes a quarter of a second.
    metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _upgrade(connection: Connection, to: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
