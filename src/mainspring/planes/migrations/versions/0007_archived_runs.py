"""Runs that were archived, found without reading the tags of the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ONLY_ARCHIVED = sa.text("key = 'mainspring.archived'")


def upgrade() -> None:
    """Create their index."""
    op.create_index(
        "ix_run_tags_archived", "run_tags", ["run"], sqlite_where=_ONLY_ARCHIVED, postgresql_where=_ONLY_ARCHIVED
    )
