"""What MLflow's clients keep with models: tags to search by, records of models kept elsewhere, logged models."""

from __future__ import annotations

import json
from itertools import islice

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BATCH = 5_000


def upgrade() -> None:
    """Bring tags to tables of their own, let versions be records only, and create the tables of logged models."""
    _registry()
    _logged_models()


def _registry() -> None:
    op.create_table(
        "model_numbers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_model_numbers"),
    )
    model_tags = op.create_table(
        "model_tags",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "key", name="pk_model_tags"),
    )
    version_tags = op.create_table(
        "model_version_tags",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", "key", name="pk_model_version_tags"),
    )
    _move_tags(op.get_bind(), "models", ["name"], model_tags)
    _move_tags(op.get_bind(), "model_versions", ["name", "version"], version_tags)
    for table in ("models", "model_versions"):
        op.add_column(table, sa.Column("updated", sa.BigInteger(), nullable=True))
    op.execute("UPDATE models SET updated = created")
    op.execute("UPDATE model_versions SET updated = created")
    with op.batch_alter_table("models") as batch:
        batch.alter_column("updated", existing_type=sa.BigInteger(), nullable=False)
        batch.drop_column("tags")
    with op.batch_alter_table("model_versions") as batch:
        batch.alter_column("updated", existing_type=sa.BigInteger(), nullable=False)
        for column in ("digest", "engine", "info"):
            batch.alter_column(column, existing_type=sa.Text(), nullable=True)
        for column in ("unservable", "source", "location", "logged", "run_link"):
            batch.add_column(sa.Column(column, sa.Text(), nullable=True))
        batch.drop_column("tags")


def _move_tags(connection: sa.Connection, name: str, keys: list[str], tags: sa.Table) -> None:
    source = sa.table(name, *(sa.column(key) for key in keys), sa.column("tags"))
    found = connection.execute(sa.select(source)).all()
    rows = (
        {**{key: getattr(row, key) for key in keys}, "key": key, "value": value}
        for row in found
        for key, value in dict(json.loads(row.tags)).items()
    )
    while part := list(islice(rows, _BATCH)):
        connection.execute(tags.insert(), part)


def _logged_models() -> None:
    op.create_table(
        "logged_models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_type", sa.Text(), nullable=True),
        sa.Column("run", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_logged_models"),
    )
    op.create_index("ix_logged_models_experiment", "logged_models", ["experiment", "created", "id"], unique=False)
    op.create_index("ix_logged_models_run", "logged_models", ["run"], unique=False)
    for table in ("logged_model_params", "logged_model_tags"):
        op.create_table(
            table,
            sa.Column("model", sa.Text(), nullable=False),
            sa.Column("key", sa.Text(), nullable=False),
            sa.Column("value", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("model", "key", name=f"pk_{table}"),
        )
    op.create_table(
        "logged_model_metrics",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("dataset_digest", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("model", "key", "at", "step", "run", name="pk_logged_model_metrics"),
    )
