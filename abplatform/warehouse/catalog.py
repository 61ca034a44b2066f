"""The Iceberg catalog inside the metadata database."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from abplatform.database import database_answers, open_database
from abplatform.domain.events import EventKind
from abplatform.warehouse.layout import (
    KINDS,
    TABLE_NAMES,
    TABLE_PROPERTIES,
    iceberg_schema,
    partition_spec,
    sort_order,
)

CATALOG_NAME = "abplatform"


def open_catalog(root: str, url: str) -> SqlCatalog:
    """Open the catalog, and create its two tables if they are missing.

    Args:
        root: where tables live, as `table_root` gives it.
        url: SQLAlchemy address of the metadata database.

    Raises:
        Unavailable: if the database does not answer.
    """
    with database_answers():
        catalog = SqlCatalog(
            CATALOG_NAME,
            **{
                "uri": url,
                "warehouse": root,
                "init_catalog_tables": "false",
                "py-io-impl": "abplatform.warehouse.durable_io.DurableFileIO",
            },
        )
        # PyIceberg's own engine knows nothing of our waiting times and of durable commits.
        catalog.engine.dispose()
        catalog.engine = open_database(url)
        _create_catalog_tables(catalog)
        # From here on its transactions read, or begin by writing: reading need not wait for SQLite's one writer.
        catalog.engine = catalog.engine.execution_options(abplatform_reads_only=True)
    return catalog


def table_root(url: str) -> str:
    """The root of the lake as PyIceberg wants it: it takes the path of a ``file://`` address as it is.

    Raises:
        ValueError: if ``url`` is no ``file://`` address or names a path that Iceberg could not read back.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise ValueError("url must be a file:// address with an absolute path")
    if any(character in path for character in "?#"):
        raise ValueError("url must not have ? or # in its path")
    return f"file://{path.rstrip('/')}"


def create_tables(catalog: SqlCatalog, root: str, project: str) -> None:
    """Create a project's tables; whoever else does it at the same time does no harm."""
    with suppress(NamespaceAlreadyExistsError, IntegrityError):
        catalog.create_namespace(project)
    for kind in KINDS:
        with suppress(TableAlreadyExistsError):
            _create_table(catalog, root, project, kind)


def add_missing_columns(table: Table, kind: EventKind) -> bool:
    """Give a table from an older release the columns that came later, and tell whether it lacked any.

    Rows that are there have nulls in them. The files stay as they are.

    Raises:
        CommitFailedException: if the table changed since it was loaded; nothing was added.
    """
    known = {field.name for field in table.schema().fields}
    missing = [field for field in iceberg_schema(kind).fields if field.name not in known]
    if missing:
        with table.update_schema() as update:
            for field in missing:
                update.add_column(field.name, field.field_type)
    return bool(missing)


def _create_table(catalog: SqlCatalog, root: str, project: str, kind: EventKind) -> Table:
    return catalog.create_table(
        (project, TABLE_NAMES[kind]),
        schema=iceberg_schema(kind),
        location=f"{root}/{project}/{TABLE_NAMES[kind]}",
        partition_spec=partition_spec(kind),
        sort_order=sort_order(kind),
        properties=TABLE_PROPERTIES,
    )


def _create_catalog_tables(catalog: SqlCatalog) -> None:
    wanted = {"iceberg_tables", "iceberg_namespace_properties"}
    if wanted <= set(sa.inspect(catalog.engine).get_table_names()):
        return
    try:
        catalog.create_tables()
    except (OperationalError, ProgrammingError, IntegrityError):
        # Two processes that start at once both see them missing; the one that lost finds them now.
        if not wanted <= set(sa.inspect(catalog.engine).get_table_names()):
            raise
