"""The tables of datasets that are kept elsewhere and of the models that runs read and made, and their SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Table,
    Text,
    UniqueConstraint,
    select,
)

from mainspring.core.ids import new_id
from mainspring.storage.sql.schema import Packed, metadata, upsert
from mainspring.tracking.model import ForeignDataset, ModelLink

foreign_datasets = Table(
    "foreign_datasets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment", Text, ForeignKey("experiments.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("source_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text),
    Column("profile", Text),
    UniqueConstraint("experiment", "name", "digest"),
)

run_foreign_inputs = Table(
    "run_foreign_inputs",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("dataset", Text, ForeignKey("foreign_datasets.id"), primary_key=True, index=True),
    Column("context", Text),
    Column("tags", Packed(dict[str, str]), nullable=False),
    sqlite_with_rowid=False,
)

run_models = Table(
    "run_models",
    metadata,
    Column("run", Text, ForeignKey("runs.id"), primary_key=True),
    Column("made", Boolean, primary_key=True),
    Column("model", Text, primary_key=True, index=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

MAX_SUMMARIES = 1_000


def insert_inputs(
    connection: Connection, run: str, experiment: str, datasets: Sequence[ForeignDataset]
) -> list[ForeignDataset]:
    """Insert inputs of a run and give those that were new; what an experiment knows of a dataset stays as it is."""
    new = []
    for dataset in datasets:
        row = {
            "id": new_id(),
            "experiment": experiment,
            "name": dataset.name,
            "digest": dataset.digest,
            "source_type": dataset.source_type,
            "source": dataset.source,
            "schema": dataset.schema,
            "profile": dataset.profile,
        }
        upsert(connection, foreign_datasets, row, keys=["experiment", "name", "digest"], update=[])
        same = (foreign_datasets.c.name == dataset.name) & (foreign_datasets.c.digest == dataset.digest)
        query = select(foreign_datasets.c.id).where(foreign_datasets.c.experiment == experiment, same)
        used = {
            "run": run,
            "dataset": connection.execute(query).scalar_one(),
            "context": dataset.context,
            "tags": dataset.tags,
        }
        if upsert(connection, run_foreign_inputs, used, keys=["run", "dataset"], update=[]):
            new.append(dataset)
    return new


def insert_models(connection: Connection, run: str, links: Sequence[ModelLink], *, made: bool) -> None:
    """Insert models that a run read or made; those it has already are left as they are."""
    rows = [{"run": run, "made": made, "model": link.model, "step": link.step} for link in links]
    upsert(connection, run_models, rows, keys=["run", "made", "model", "step"], update=[])


def summaries(connection: Connection, experiments: Sequence[str]) -> list[tuple[str, str, str, str | None]]:
    """List the datasets that runs of some experiments read: experiment, name, digest and context, each once."""
    table = foreign_datasets
    columns = table.c.experiment, table.c.name, table.c.digest, run_foreign_inputs.c.context
    query = (
        select(*columns)
        .distinct()
        .join(run_foreign_inputs, run_foreign_inputs.c.dataset == table.c.id)
        .where(table.c.experiment.in_(experiments))
        .order_by(*columns)
        .limit(MAX_SUMMARIES)
    )
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]
