"""``abplatform db``."""

from __future__ import annotations

import click

from abplatform.settings import read_settings


@click.group("db")
def command() -> None:
    """Create, update and inspect the database schema."""


@command.command("upgrade")
def upgrade() -> None:
    """Create the schema, or bring it to this version of the program. Safe to repeat."""
    from abplatform.database import open_database
    from abplatform.storage import migrate

    settings = read_settings()
    if settings.embedded:
        settings.home.mkdir(parents=True, exist_ok=True)
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

    settings = read_settings()
    if settings.embedded and not (settings.home / "platform.db").exists():
        raise click.ClickException("there is no database yet; run: abplatform db upgrade")
    database = open_database(settings.metadata_url)
    try:
        revision, head = migrate.current_revision(database), migrate.head_revision()
    finally:
        database.dispose()
    if revision != head:
        raise click.ClickException(
            f"the schema is at {revision}, this program needs {head}; run: abplatform db upgrade"
        )
    click.echo(revision)
