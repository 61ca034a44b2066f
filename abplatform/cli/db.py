"""``abplatform db``."""

from __future__ import annotations

import click

from abplatform.cli.invocation import program
from abplatform.cli.session import usable_settings


@click.group("db")
def command() -> None:
    """Create, update and inspect the database schema."""


@command.command("upgrade")
def upgrade() -> None:
    """Create the schema, or bring it to this version of the program. Safe to repeat."""
    from abplatform.database import open_database
    from abplatform.storage import migrate

    settings = usable_settings()
    migrate.upgrade(settings.metadata_url)
    database = open_database(settings.metadata_url)
    try:
        click.echo(f"the schema is at {migrate.current_revision(database)}")
    finally:
        database.dispose()


@command.command("current")
def current() -> None:
    """Say which schema the database has; exit status 1 unless it is this program's."""
    from abplatform.database import open_database
    from abplatform.storage import migrate

    settings = usable_settings()
    if settings.embedded and not (settings.home / "platform.db").exists():
        raise click.ClickException(f"there is no database yet; run: {program()} db upgrade")
    database = open_database(settings.metadata_url)
    try:
        revision, head = migrate.current_revision(database), migrate.head_revision()
    finally:
        database.dispose()
    if revision != head:
        raise click.ClickException(
            f"the schema is at {revision or 'no revision'}, this program needs {head}; run: {program()} db upgrade"
        )
    click.echo(revision)
