"""Searches of 100,000 runs, and what comes with them, read from indexes only, in as few queries however many they find.

SQLite plans by the schema alone, as nobody analyses its tables here, so its plans are those of any size; that of
PostgreSQL needs its statistics, for which 20,000 are enough to make a look at all of them dear. The rows are there to
find what a plan hides: a query for each run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from mainspring.core.ids import new_id
from mainspring.planes.schema import migrate
from mainspring.storage.sql.database import Database, open_database
from mainspring.storage.sql.statements import listed
from mainspring.tracking.metrics import reading, sampling
from mainspring.tracking.metrics.store import sortable
from mainspring.tracking.search import rows as search_rows
from mainspring.tracking.search import store
from mainspring.tracking.search.filters import parse_filter, parse_order

RUNS = {"sqlite": 100_000, "postgresql": 20_000}
EXPERIMENT = "e"

ROWS_OF_RUNS = [
    'INSERT INTO runs (id, experiment, name, status, started, ended, dirty, "user") '
    "SELECT id, 'e', 'run-' || n, 'finished', n * 1000000, n * 1000000 + 5, {false}, 'ada' FROM seeded",
    "INSERT INTO metric_series (id, run, key, step, at_us, value) "
    "SELECT 2 * n + k, id, 'm' || k, 0, n, value FROM seeded, (SELECT 0 AS k UNION SELECT 1) ks",
    "INSERT INTO run_params (run, key, value) SELECT id, 'depth', depth FROM seeded",
    "INSERT INTO run_tags (run, key, value) SELECT id, 'team', 'ads' FROM seeded",
]


@pytest.fixture(scope="module")
def seeded_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with 100,000 runs of one experiment; the first has 5,000 points of ``m0``."""
    yield from _seeded(f"sqlite:///{tmp_path_factory.mktemp('many') / 'mainspring.db'}")


@pytest.fixture(scope="module")
def seeded_postgresql(postgresql: Any) -> Iterator[Database]:
    """The same in PostgreSQL, with its statistics."""
    name = postgresql.create()
    yield from _seeded(postgresql.url(name))
    postgresql.drop(name)


def _seeded(url: str) -> Iterator[Database]:
    database = open_database(url)
    migrate(database)
    with database.begin() as connection:
        _seed(connection)
    yield database
    database.close()


def _seed(connection: Connection) -> None:
    postgresql = connection.dialect.name == "postgresql"
    connection.exec_driver_sql("INSERT INTO experiments (id, name, created) VALUES ('e', 'e', 0)")
    connection.exec_driver_sql("CREATE TEMP TABLE seeded (n BIGINT, id TEXT, value BIGINT, depth TEXT)")
    cursor: Any = connection.connection.cursor()
    ids = [(at, new_id(), sortable(at * 7_919 % 100_003), str(at % 10)) for at in range(RUNS[connection.dialect.name])]
    if postgresql:
        with cursor.copy("COPY seeded FROM STDIN") as copy:
            for row in ids:
                copy.write_row(row)
    else:
        cursor.executemany("INSERT INTO seeded VALUES (?, ?, ?, ?)", ids)
    for text in ROWS_OF_RUNS:
        connection.exec_driver_sql(text.format(false="false" if postgresql else "0"))
    values = ",".join(f"(0, {step}, 0, {sortable(step / 2)})" for step in range(5_000))
    connection.exec_driver_sql(f"INSERT INTO metric_points (series, step, at_us, value) VALUES {values}")
    if postgresql:
        connection.exec_driver_sql("ANALYZE")


class Watched:
    """The statements that are carried out on a connection of SQLite, and their plans."""

    def __init__(self, connection: Connection) -> None:
        self._driver: Any = connection.connection.driver_connection
        self.statements: list[str] = []

    def __enter__(self) -> Watched:
        self._driver.set_trace_callback(self.statements.append)
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.set_trace_callback(None)

    def plan(self) -> list[str]:
        return [row[3] for text in self.statements for row in self._driver.execute(f"EXPLAIN QUERY PLAN {text}")]


@pytest.fixture
def sqlite(seeded_sqlite: Database) -> Iterator[Connection]:
    with seeded_sqlite.read() as connection:
        yield connection


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Iterator[Connection]:
    with request.getfixturevalue(f"seeded_{request.param}").read() as connection:
        yield connection


def found(connection: Connection, where: str = "", *order: str, limit: int = 1_000, page: str | None = None) -> Any:
    within = store.of_experiments([EXPERIMENT])
    orders = [parse_order(text) for text in order]
    return store.find_runs(connection, within, parse_filter(where), orders, limit=limit, page=page)


SEARCHES = [
    ("", ()),
    ("", ("metrics.m0 desc",)),
    ("", ("metrics.m0",)),
    ("metrics.m1 > 0.5", ("metrics.m0 desc",)),
    ("metrics.m1 > 0.5 and params.depth = '3' and tags.team = 'ads'", ("params.depth", "tags.team desc")),
    ("not (params.depth = '3' or metrics.m0 is null)", ()),
    ("status = 'finished' and name like 'run-1%'", ("name",)),
]


@pytest.mark.parametrize(("where", "order"), SEARCHES)
def test_candidates_are_found_in_indexes_by_one_query(sqlite: Connection, where: str, order: tuple[str, ...]) -> None:
    with Watched(sqlite) as watched:
        ids, page = found(sqlite, where, *order)
        found(sqlite, where, *order, page=page)
    assert len(ids) == 1_000
    assert len(watched.statements) == 2
    for step in watched.plan():
        assert not re.match(r"SCAN (?!json_each)", step), "every table is searched, none is read through"
        assert "AUTOMATIC" not in step, "no index is made for the query"
        if re.match(r"SEARCH runs ", step):
            assert "ix_runs_experiment_deleted_started (experiment=? AND deleted=?" in step
        if re.match(r"SEARCH (order\d|metric_series|run_params|run_tags) ", step):
            assert "USING PRIMARY KEY (run=? AND key=?)" in step, "where the value lies too"


def test_a_search_that_needs_no_other_column_never_touches_the_runs_themselves(sqlite: Connection) -> None:
    with Watched(sqlite) as watched:
        found(sqlite, "metrics.m1 > 0.5 and params.depth = '3'", "metrics.m0 desc")
    (step,) = [step for step in watched.plan() if step.startswith("SEARCH runs ")]
    assert "USING COVERING INDEX" in step


def test_what_runs_are_sorted_by_is_not_read_again_for_the_filter(sqlite: Connection) -> None:
    with Watched(sqlite) as watched:
        found(sqlite, "metrics.m0 > 0.5 and not metrics.m0 > 1e9", "metrics.m0 desc")
    assert not [step for step in watched.plan() if "metric_series" in step]
    assert len([step for step in watched.plan() if step.startswith("SEARCH order0 ")]) == 1


def test_the_newest_runs_are_found_without_looking_at_the_others(sqlite: Connection) -> None:
    with Watched(sqlite) as watched:
        found(sqlite)
    assert "USE TEMP B-TREE FOR ORDER BY" not in watched.plan()


@pytest.mark.parametrize("number", [1, 1_000])
def test_what_belongs_to_runs_comes_in_one_query_a_kind(sqlite: Connection, number: int) -> None:
    ids, _ = found(sqlite, "", "metrics.m0 desc", limit=number)
    with Watched(sqlite) as watched:
        rows = search_rows.read_rows(sqlite, ids)
    assert [row.id for row in rows.runs] == ids
    assert {len(rows.metrics), len(rows.params), len(rows.tags)} == {number}
    assert len(watched.statements) == 7
    plan = watched.plan()
    assert not [step for step in plan if re.match(r"SCAN (?!json_each)", step)]
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan, "rows lie in the order in which they are told"


def test_histories_and_charts_read_their_own_points(sqlite: Connection) -> None:
    run = sqlite.exec_driver_sql("SELECT run FROM metric_series WHERE id = 0").scalar_one()
    with Watched(sqlite) as watched:
        assert len(reading.read_columns(sqlite, run, "m0", limit=10_000).steps) == 5_000
        charted = sampling.read_samples(sqlite, [run], "m0", 320)[run]
    assert charted.steps.tolist()[::319] == [0, 4_999]
    steps = [step for step in watched.plan() if "metric_points" in step]
    assert steps
    for step in steps:
        assert re.match(r"SEARCH metric_points USING PRIMARY KEY \(series=\?", step)
    (chosen,) = [step for step in steps if "step=?" in step]
    assert "series=? AND step=?" in chosen, "points of a chart are looked up one by one"


def test_a_search_of_a_hundred_thousand_runs_has_its_pages_in_order(either: Connection) -> None:
    first, page = found(either, "", "metrics.m0 desc")
    second, _ = found(either, "", "metrics.m0 desc", page=page)
    assert len({*first, *second}) == 2_000
    rows = search_rows.read_rows(either, [*first, *second], ["metrics"])
    values = [{key: value for _, key, value, _, _ in rows.metrics[id]}["m0"] for id in [*first, *second]]
    assert values == sorted(values, reverse=True)


def test_postgresql_reads_what_belongs_to_runs_by_their_keys(seeded_postgresql: Database) -> None:
    with seeded_postgresql.read() as connection:
        _look_at_plans(connection)


def _look_at_plans(postgresql: Connection) -> None:
    ids, _ = found(postgresql, "", "metrics.m0 desc", limit=100)
    driver: Any = postgresql.connection.driver_connection
    asked = [listed(postgresql, ids)]
    for statement in (search_rows._RUNS, search_rows._METRICS, search_rows._PARAMS, search_rows._RUN_TAGS):
        plan = "\n".join(row[0] for row in driver.execute(f"EXPLAIN {statement._postgresql}", asked))
        assert not re.search(r"Seq Scan on (runs|metric_series|run_params|run_tags)", plan), plan
