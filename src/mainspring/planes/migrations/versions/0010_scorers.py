"""Scorers, their versions, and what they are meant to judge."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of scorers."""
    op.create_table(
        "scorers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scorers"),
        sa.UniqueConstraint("experiment", "name", name="uq_scorers_experiment_name"),
    )
    op.create_table(
        "scorer_versions",
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["scorer"], ["scorers.id"], name="fk_scorer_versions_scorer_scorers", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scorer", "version", name="pk_scorer_versions"),
    )
    op.create_table(
        "online_scorings",
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sample_rate", sa.Float(), nullable=False),
        sa.Column("where", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["scorer"], ["scorers.id"], name="fk_online_scorings_scorer_scorers", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scorer", name="pk_online_scorings"),
    )
