"""What MLflow's clients keep with runs and experiments: deletion that can be undone, users, datasets of elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and the tables of what runs read and made."""
    for name, type in (("updated", sa.BigInteger()), ("deleted", sa.BigInteger()), ("location", sa.Text())):
        op.add_column("experiments", sa.Column(name, type, nullable=True))
    for name, type in (("user", sa.Text()), ("deleted", sa.BigInteger())):
        op.add_column("runs", sa.Column(name, type, nullable=True))
    op.create_table(
        "foreign_datasets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("source_type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=True),
        sa.Column("profile", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], name="fk_foreign_datasets_experiment_experiments"),
        sa.PrimaryKeyConstraint("id", name="pk_foreign_datasets"),
        sa.UniqueConstraint("experiment", "name", "digest", name="uq_foreign_datasets_experiment_name_digest"),
    )
    op.create_table(
        "run_foreign_inputs",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset"], ["foreign_datasets.id"], name="fk_run_foreign_inputs_dataset_foreign_datasets"
        ),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_run_foreign_inputs_run_runs"),
        sa.PrimaryKeyConstraint("run", "dataset", name="pk_run_foreign_inputs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_foreign_inputs_dataset", "run_foreign_inputs", ["dataset"], unique=False)
    op.create_table(
        "run_models",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_run_models_run_runs"),
        sa.PrimaryKeyConstraint("run", "made", "model", "step", name="pk_run_models"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_models_model", "run_models", ["model"], unique=False)
