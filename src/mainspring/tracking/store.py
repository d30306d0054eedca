"""The tables of tracking, and the SQL for experiments, runs and what is written once for each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Row,
    Select,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)

from mainspring.core.errors import Conflict, NotFound
from mainspring.storage.sql.database import Database
from mainspring.storage.sql.schema import Instant, Packed, metadata, upsert
from mainspring.storage.sql.statements import Statement
from mainspring.tracking.artifacts import parents
from mainspring.tracking.model import (
    GONE,
    Artifact,
    DatasetInput,
    Environment,
    Experiment,
    Run,
    RunStatus,
    microseconds,
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Instant, nullable=False),
    Column("updated", Instant),
    Column("deleted", Instant),
    Column("location", Text),
)

experiment_tags = Table(
    "experiment_tags",
    metadata,
    Column("experiment", Text, ForeignKey("experiments.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

environments = Table(
    "environments",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("body", Packed(Environment), nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started", Instant, nullable=False),
    Column("ended", Instant),
    Column("parent", Text, ForeignKey("runs.id"), index=True),
    Column("commit", Text),
    Column("branch", Text),
    Column("dirty", Boolean, nullable=False, default=False),
    Column("environment", Text, ForeignKey("environments.digest")),
    Column("token", Text, unique=True),
    Column("user", Text),
    Column("deleted", Instant),
    Index("ix_runs_experiment_deleted_started", "experiment", "deleted", "started", "id"),
    Index("ix_runs_started", "started", "id"),
)

run_params = Table(
    "run_params",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

run_inputs = Table(
    "run_inputs",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("dataset", Text, primary_key=True, index=True),
    Column("context", Text, primary_key=True),
    sqlite_with_rowid=False,
)

run_artifacts = Table(
    "run_artifacts",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("digest", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

run_writers = Table(  # How far each writer of a run has come: a batch that is sent again is known by its number.
    "run_writers",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("writer", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

RUN_COLUMNS = [
    runs.c.id,
    runs.c.name,
    experiments.c.name.label("experiment"),
    runs.c.status,
    runs.c.started,
    runs.c.ended,
    runs.c.parent,
    runs.c.commit,
    runs.c.branch,
    runs.c.dirty,
    runs.c.user,
    runs.c.deleted,
    runs.c.experiment.label("experiment_id"),
    experiments.c.location,
]


def run_of(row: Row[Any]) -> Run:
    """Make a run of a row that begins with RUN_COLUMNS."""
    return Run(*row[: len(RUN_COLUMNS)])


def insert_experiment(connection: Connection, experiment: Experiment) -> bool:
    """Insert an experiment and tell whether it was new; one of the same name is left as it is."""
    row = {
        "id": experiment.id,
        "name": experiment.name,
        "created": experiment.created,
        "location": experiment.location,
    }
    if not upsert(connection, experiments, row, keys=["name"], update=[]):
        return False
    set_experiment_tags(connection, experiment.id, experiment.tags)
    return True


def set_experiment_tags(connection: Connection, experiment: str, tags: dict[str, str]) -> None:
    """Set tags of the experiment with this id."""
    rows = [{"experiment": experiment, "key": key, "value": value} for key, value in tags.items()]
    upsert(connection, experiment_tags, rows, keys=["experiment", "key"])


def find_experiments(
    connection: Connection, *, name: str | None = None, after: str = "", limit: int = 1
) -> list[Experiment]:
    """List experiments in the order of their names: the one called *name*, or those in use after *after*."""
    named = experiments.c.name == name if name else (experiments.c.name > after) & experiments.c.deleted.is_(None)
    query = select(experiments).where(named).order_by(experiments.c.name).limit(limit)
    return experiments_of(connection, connection.execute(query).all())


def experiments_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[Experiment]:
    """Make experiments, with their tags, of rows of their table; those that are being removed for good are none."""
    rows = [row for row in rows if row.deleted != GONE]
    tags: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    for owner, key, value in connection.execute(
        select(experiment_tags)
        .where(experiment_tags.c.experiment.in_(tags))
        .order_by(experiment_tags.c.experiment, experiment_tags.c.key)
    ):
        tags[owner][key] = value
    return [
        Experiment(row.id, row.name, row.created, tags[row.id], row.updated, row.deleted, row.location) for row in rows
    ]


def require_experiment(connection: Connection, name: str) -> Experiment:
    """Find an experiment by its name; raises NotFound."""
    for found in find_experiments(connection, name=name):
        return found
    raise NotFound(f"no experiment {name!r}: create it, or start a run in it", name=name)


# A run begins, and logs, through these, so they go to the driver itself.
_INSERT_RUN = Statement(
    'INSERT INTO runs (id, experiment, name, status, started, "user", parent, dirty, token) '
    "SELECT ?, id, ?, ?, ?, ?, ?, ?, ? FROM experiments WHERE name = ? ON CONFLICT DO NOTHING"
)
_LOCK_RUN = Statement(
    "SELECT deleted FROM runs WHERE id = ?", postgresql="SELECT deleted FROM runs WHERE id = ? FOR UPDATE"
)
_INSERT_PARAM = Statement("INSERT INTO run_params (run, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
_PARAMS = Statement("SELECT key, value FROM run_params WHERE run = ?")
_SET_TAG = Statement(
    "INSERT INTO run_tags (run, key, value) VALUES (?, ?, ?) "
    "ON CONFLICT (run, key) DO UPDATE SET value = excluded.value"
)
_ADVANCE_WRITER = Statement(
    "INSERT INTO run_writers (run, writer, sequence) VALUES (?, ?, ?) ON CONFLICT (run, writer) "
    "DO UPDATE SET sequence = excluded.sequence WHERE run_writers.sequence < excluded.sequence"
)


def insert_run(connection: Connection, run: Run, token: str | None) -> bool:
    """Insert a run into its experiment and tell whether its id and token were new."""
    row = (
        run.id, run.name, run.status, microseconds(run.started), run.user, run.parent, False, token, run.experiment,
    )  # fmt: skip
    return _INSERT_RUN.run(connection, row) > 0


def select_runs() -> Select[Any]:
    """Begin a query of runs with the name of their experiment."""
    return select(*RUN_COLUMNS).join(experiments, experiments.c.id == runs.c.experiment)


def require_run(connection: Connection, run: str) -> Run:
    """Find a run by its id; raises NotFound."""
    row = connection.execute(select_runs().where(runs.c.id == run)).first()
    if row is None or row.deleted == GONE:
        raise _unknown(run)
    return run_of(row)


def existing_run(connection: Connection, wanted: Run, token: str | None) -> Run | None:
    """Find the run that has this id or token already; raises Conflict when it is in another experiment."""
    same = runs.c.id == wanted.id if token is None else (runs.c.id == wanted.id) | (runs.c.token == token)
    row = connection.execute(select_runs().where(same)).first()
    if row is None:
        return None
    found = run_of(row)
    if found.experiment != wanted.experiment:
        raise Conflict(f"run {found.id} belongs to the experiment {found.experiment!r} already", run=found.id)
    return found


@contextmanager
def writing(database: Database, run: str) -> Iterator[Connection]:
    """Open a transaction in which nobody else writes to this run.

    Raises NotFound when there is none, Conflict when it is deleted.
    """
    with database.begin() as connection:
        lock_run(connection, run)
        yield connection


def lock_run(connection: Connection, run: str) -> None:
    """Let nobody else write to this run until the transaction ends.

    Raises NotFound when there is none, Conflict when it is deleted.
    """
    locked = _LOCK_RUN.first(connection, (run,))
    if locked is None:
        raise _unknown(run)
    if locked[0] is not None:
        raise Conflict(f"The run {run} must be in the 'active' state to change; it is deleted", run=run)


def set_status(connection: Connection, run: str, status: RunStatus, ended: datetime | None) -> None:
    """Set how a run stands and when it ended."""
    connection.execute(update(runs).where(runs.c.id == run).values(status=status, ended=ended))


def set_code(connection: Connection, run: str, commit: str | None, branch: str | None, dirty: bool) -> None:
    """Set which code a run executes."""
    connection.execute(update(runs).where(runs.c.id == run).values(commit=commit, branch=branch, dirty=dirty))


def set_environment(connection: Connection, run: str, digest: str, environment: Environment) -> None:
    """Set where a run happens; equal environments are kept once."""
    upsert(connection, environments, {"digest": digest, "body": environment}, keys=["digest"], update=[])
    connection.execute(update(runs).where(runs.c.id == run).values(environment=digest))


def require_environment(connection: Connection, run: str) -> Environment:
    """Find where a run happened; raises NotFound when nobody noted it."""
    query = select(environments.c.body).join(runs, runs.c.environment == environments.c.digest)
    found: Environment | None = connection.execute(query.where(runs.c.id == run)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"run {run} did not record its environment", run=run)
    return found


def advance_writer(connection: Connection, run: str, writer: str, sequence: int) -> bool:
    """Note that *writer* has come to *sequence*; False when it had been there before. The run must be locked."""
    return _ADVANCE_WRITER.run(connection, (run, writer, sequence)) > 0


def write_params_once(connection: Connection, run: str, params: Mapping[str, str]) -> None:
    """Set parameters; raises Conflict when one has another value already. The run must be locked."""
    if insert_params(connection, run, params) == len(params):
        return
    for key, value in _PARAMS.rows(connection, (run,)):
        if params.get(key, value) != value:
            raise Conflict(
                f"param {key!r} of run {run} is {value!r} and cannot become {params[key]!r}: "
                "params are written once; log what changes as a metric or a tag",
                run=run,
                key=key,
                old=value,
                new=params[key],
            )


def insert_params(connection: Connection, run: str, params: Mapping[str, str]) -> int:
    """Insert parameters; those that stand already are left as they are. Gives how many were inserted."""
    if not params:
        return 0
    return _INSERT_PARAM.run_many(connection, [(run, key, value) for key, value in params.items()])


def set_tags(connection: Connection, run: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run."""
    if tags:
        _SET_TAG.run_many(connection, [(run, key, value) for key, value in tags.items()])


def delete_tag(connection: Connection, run: str, key: str) -> bool:
    """Remove a tag of a run and tell whether it was there."""
    return connection.execute(delete(run_tags).where(run_tags.c.run == run, run_tags.c.key == key)).rowcount > 0


def texts_of(connection: Connection, table: Table, runs: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read all parameters or all tags of some runs."""
    found: dict[str, dict[str, str]] = {run: {} for run in runs}
    query = select(table.c.run, table.c.key, table.c.value).where(table.c.run.in_(runs)).order_by(table.c.key)
    for run, key, value in connection.execute(query):
        found[run][key] = value
    return found


def insert_input(connection: Connection, run: str, used: DatasetInput) -> bool:
    """Insert a dataset input and tell whether it was new."""
    row = {"run": run, "dataset": used.dataset, "context": used.context}
    return upsert(connection, run_inputs, row, keys=["run", "dataset", "context"], update=[]) > 0


def set_artifact(connection: Connection, run: str, artifact: Artifact) -> None:
    """Let a path of a run point to an object."""
    row = {"run": run, "path": artifact.path, "digest": artifact.digest, "size": artifact.size}
    upsert(connection, run_artifacts, row, keys=["run", "path"])


def find_artifact(connection: Connection, run: str, path: str) -> Artifact | None:
    """Find what a path of a run points to."""
    query = select(run_artifacts).where(run_artifacts.c.run == run, run_artifacts.c.path == path)
    row = connection.execute(query).first()
    return None if row is None else Artifact(row.path, row.digest, row.size)


def find_artifacts(connection: Connection, run: str, *, under: str, after: str, limit: int) -> list[Artifact]:
    """List artifacts of a run in the order of their paths: those below the folder *under* and after *after*."""
    path = run_artifacts.c.path
    query = select(path, run_artifacts.c.digest, run_artifacts.c.size).where(run_artifacts.c.run == run, path > after)
    if under:  # LIKE would ignore case on SQLite, and a range of paths depends on PostgreSQL's collation.
        query = query.where(func.substr(path, 1, len(under) + 1) == f"{under}/")
    return [Artifact(*row) for row in connection.execute(query.order_by(path).limit(limit))]


def _unknown(run: str) -> NotFound:
    return NotFound(f"Run with id={run} not found: `mainspring run search` shows those there are", run=run)


def check_place(connection: Connection, run: str, path: str) -> None:
    """Raise Conflict when *path* would be a file and a folder of the run at once."""
    above = next((folder for folder in parents(path) if find_artifact(connection, run, folder)), None)
    below = find_artifacts(connection, run, under=path, after="", limit=1)
    if above or below:
        raise Conflict(f"{path!r} and {above or below[0].path!r} cannot both be files", path=path, run=run)
