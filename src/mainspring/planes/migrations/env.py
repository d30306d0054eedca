"""What alembic runs: the migrations, on the connection that `planes.schema` opened."""

from __future__ import annotations

from alembic import context

from mainspring.storage.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a column by copying its table.
    render_as_batch=True,
)
context.run_migrations()
