"""Files of logged models and of traces, which are no run's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create their table."""
    op.create_table(
        "artifact_files",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "path", name="pk_artifact_files"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_artifact_files_digest", "artifact_files", ["digest"], unique=False)
