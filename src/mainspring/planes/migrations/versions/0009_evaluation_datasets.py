"""Evaluation datasets, their versions and records."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_DATASETS = "evaluation_datasets"


def upgrade() -> None:
    """Create the tables of evaluation datasets."""
    op.create_table(
        _DATASETS,
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("updated_by", sa.Text(), nullable=True),
        sa.Column("fields", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_evaluation_datasets"),
    )
    op.create_index("ix_evaluation_datasets_created", _DATASETS, ["created"], unique=False)
    op.create_index("ix_evaluation_datasets_name", _DATASETS, ["name"], unique=False)
    _of_dataset(
        "evaluation_dataset_experiments",
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        keys=["experiment"],
    )
    op.create_index(
        "ix_evaluation_dataset_experiments_experiment", "evaluation_dataset_experiments", ["experiment"], unique=False
    )
    _of_dataset(
        "evaluation_dataset_tags",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        keys=["key"],
    )
    _of_dataset(
        "evaluation_dataset_versions",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        keys=["version"],
    )
    _of_dataset(
        "evaluation_records",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("outputs", sa.Text(), nullable=False),
        sa.Column("expectations", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("source_type", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("updated_by", sa.Text(), nullable=True),
        keys=["id", "since"],
        with_rowid=True,
    )
    standing = sa.text("until IS NULL")
    op.create_index(
        "ix_evaluation_records_hash",
        "evaluation_records",
        ["dataset", "hash"],
        unique=True,
        sqlite_where=standing,
        postgresql_where=standing,
    )
    op.create_index("ix_evaluation_records_position", "evaluation_records", ["dataset", "position"], unique=False)


def _of_dataset(name: str, *columns: sa.Column[Any], keys: list[str], with_rowid: bool = False) -> None:
    op.create_table(
        name,
        sa.Column("dataset", sa.Text(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["dataset"], [f"{_DATASETS}.id"], name=f"fk_{name}_dataset_{_DATASETS}", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset", *keys, name=f"pk_{name}"),
        **({} if with_rowid else {"sqlite_with_rowid": False}),
    )
