"""The Iceberg catalog inside the metadata database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

import duckdb
import sqlalchemy as sa
from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
from pyiceberg.table import Table
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from abplatform.database import database_answers, open_database
from abplatform.domain.events import EventKind
from abplatform.errors import Unavailable
from abplatform.settings import BUCKET_ADDRESS
from abplatform.warehouse.layout import (
    KINDS,
    TABLE_NAMES,
    TABLE_PROPERTIES,
    iceberg_schema,
    partition_spec,
    sort_order,
)
from abplatform.warehouse.strict_catalog import StrictCatalog

CATALOG_NAME = "abplatform"


def open_catalog(root: str, url: str) -> StrictCatalog:
    """Open the catalog, and create its two tables if they are missing.

    Args:
        root: where tables live, as `table_root` gives it.
        url: SQLAlchemy address of the metadata database.

    Raises:
        Unavailable: if the database does not answer.
    """
    with database_answers():
        catalog = StrictCatalog(
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
        # From here on its transactions read, but for those that say otherwise: reading need not wait for SQLite's one
        # writer.
        catalog.engine = catalog.engine.execution_options(abplatform_reads_only=True)
    return catalog


@contextmanager
def lake_answers() -> Iterator[None]:
    """Speak of a catalog or a storage that does not answer as the rest of the platform does.

    Raises:
        Unavailable: instead of other errors, where trying again can help. A file that is missing is not such a case.
    """
    try:
        with database_answers():
            yield
    except FileNotFoundError:
        raise
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        first_line = str(error).partition("\n")[0]
        raise Unavailable(f"files of the lake cannot be read now: {first_line}") from error
    except OSError as error:
        raise Unavailable("the storage of the lake does not answer, or is full; try again shortly") from error


def table_root(url: str) -> str:
    """The root of the lake as PyIceberg wants it: it takes the path of a ``file://`` address as it is.

    Raises:
        ValueError: if ``url`` is neither a ``file://`` nor an ``s3://`` address, or names a path that Iceberg could
            not read back.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme == "s3":
        return _bucket_root(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.startswith("/"):
        raise ValueError("url must be a file:// address with an absolute path, or s3://bucket/prefix")
    if any(character in path for character in "?#"):
        raise ValueError("url must not have ? or # in its path")
    return f"file://{path.rstrip('/')}"


def _bucket_root(url: str) -> str:
    # Not decoded: what stands in the address is the key.
    if not BUCKET_ADDRESS.fullmatch(url):
        raise ValueError("url must name a bucket and a plain prefix, such as s3://bucket/lake")
    return url.rstrip("/")


def create_tables(catalog: StrictCatalog, root: str, project: str) -> None:
    """Create a project's tables; whoever else does it at the same time does no harm."""
    writing = catalog.for_writing()
    with suppress(NamespaceAlreadyExistsError, IntegrityError):
        writing.create_namespace(project)
    for kind in KINDS:
        with suppress(TableAlreadyExistsError):
            _create_table(writing, root, project, kind)


def list_projects(catalog: StrictCatalog) -> tuple[str, ...]:
    """Keys of the projects that have tables, in order."""
    return tuple(sorted(namespace[0] for namespace in catalog.list_namespaces()))


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


def _create_table(catalog: StrictCatalog, root: str, project: str, kind: EventKind) -> Table:
    return catalog.create_table(
        (project, TABLE_NAMES[kind]),
        schema=iceberg_schema(kind),
        location=f"{root}/{project}/{TABLE_NAMES[kind]}",
        partition_spec=partition_spec(kind),
        sort_order=sort_order(kind),
        properties=TABLE_PROPERTIES,
    )


def _create_catalog_tables(catalog: StrictCatalog) -> None:
    wanted = {"iceberg_tables", "iceberg_namespace_properties"}
    if wanted <= set(sa.inspect(catalog.engine).get_table_names()):
        return
    try:
        catalog.create_tables()
    except (OperationalError, ProgrammingError, IntegrityError):
        # Two processes that start at once both see them missing; the one that lost finds them now.
        if not wanted <= set(sa.inspect(catalog.engine).get_table_names()):
            raise
