"""The latest points of a run lie together with their values, and runs in use are found in an index alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the series of metrics be kept by run and key, and the index of runs know which are deleted."""
    if op.get_bind().dialect.name == "sqlite":
        _copy_series()
    else:
        _change_keys()
    op.create_index("ix_runs_experiment_deleted_started", "runs", ["experiment", "deleted", "started", "id"])
    op.drop_index("ix_runs_experiment_started", "runs")


def _copy_series() -> None:
    # The points refer to the table by its name, so it may go and come back before the transaction ends. It must not be
    # renamed: SQLite would let the points follow it.
    op.execute("PRAGMA defer_foreign_keys=ON")
    op.execute("CREATE TEMP TABLE kept_series AS SELECT id, run, key, step, at_us, value FROM metric_series")
    op.drop_table("metric_series")
    op.create_table(
        "metric_series",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name="fk_metric_series_run_runs"),
        sa.PrimaryKeyConstraint("run", "key", name="pk_metric_series"),
        sa.UniqueConstraint("id", name="uq_metric_series_id"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO metric_series (id, run, key, step, at_us, value) "
        "SELECT id, run, key, step, at_us, value FROM kept_series ORDER BY run, key"
    )
    op.execute("DROP TABLE kept_series")


def _change_keys() -> None:
    points = "fk_metric_points_series_metric_series"
    op.drop_constraint(points, "metric_points", type_="foreignkey")
    op.drop_constraint("uq_metric_series_run_key", "metric_series", type_="unique")
    op.drop_constraint("pk_metric_series", "metric_series", type_="primary")
    op.create_primary_key("pk_metric_series", "metric_series", ["run", "key"])
    op.create_unique_constraint("uq_metric_series_id", "metric_series", ["id"])
    op.create_foreign_key(points, "metric_points", "metric_series", ["series"], ["id"])
