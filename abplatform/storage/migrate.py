"""Bringing a database to the schema of this program, and telling whether it has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from abplatform.database import open_database, reading, transaction
from abplatform.errors import SchemaOutdated

# Any number that no other program locks in the same database.
_ADVISORY_LOCK = 4_206_202_611


def upgrade(url: str) -> None:
    """Create or update the schema, in one transaction; several processes may do it at once.

    Args:
        url: SQLAlchemy address of the metadata database.

    Raises:
        SchemaOutdated: the database was made by a newer version of the program.
        Unavailable: the database does not answer.
    """
    with configured(url) as config:
        command.upgrade(config, "head")


def downgrade(url: str, revision: str) -> None:
    """Go back to an earlier schema, in one transaction; what has no place there is lost.

    Args:
        revision: for example ``0001``, or ``base`` for a database without tables.

    Raises:
        SchemaOutdated: the revision, or the one that the database has, is not known here.
        Unavailable: the database does not answer.
    """
    with configured(url) as config:
        command.downgrade(config, revision)


def current_revision(engine: sa.Engine) -> str | None:
    """The revision that a database has; None for one without our tables."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    """The revision that this program needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("this installation of abplatform carries no migrations")
    return head


def is_known(revision: str | None) -> bool:
    """Whether a database at that revision was made by this version of the program or an earlier one."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return revision is None or any(script.revision == revision for script in scripts)


def is_current(engine: sa.Engine) -> bool:
    """Whether a database has exactly the schema that this program needs."""
    return current_revision(engine) == head_revision()


@contextmanager
def configured(url: str) -> Iterator[Config]:
    """Alembic's configuration, with a connection on which no other migration can run meanwhile.

    Args:
        url: SQLAlchemy address of the metadata database.

    Raises:
        SchemaOutdated: a revision is not known here.
        Unavailable: the database does not answer.
    """
    engine = open_database(url)
    try:
        # On SQLite the transaction itself keeps all other writers out.
        with transaction(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            yield _config(connection)
    except CommandError as error:
        raise SchemaOutdated(f"the database's schema is not known to this version of abplatform: {error}") from error
    finally:
        engine.dispose()


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    folder = Path(__file__).resolve().parents[1] / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
