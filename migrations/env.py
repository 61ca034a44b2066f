"""How Alembic reaches our tables: on the connection that `abplatform.storage.migrate` hands over."""

from __future__ import annotations

from alembic import context

from abplatform.storage import schema
from abplatform.warehouse import tables

# PyIceberg makes and changes these itself, in the same database.
FOREIGN_TABLES = frozenset({"iceberg_tables", "iceberg_namespace_properties"})


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether autogenerate may look at a thing of the database."""
    return not (kind == "table" and name in FOREIGN_TABLES)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=[schema.metadata, tables.metadata],
    include_name=is_ours,
    compare_server_default=True,
    # SQLite changes a column by copying the table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
