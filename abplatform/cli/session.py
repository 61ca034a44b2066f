"""What the commands share: settings and an open platform."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from abplatform.cli.invocation import program
from abplatform.errors import SchemaOutdated, StartRefused
from abplatform.settings import Settings, read_settings

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform


def usable_settings(**changes: str) -> Settings:
    """The settings of the environment.

    Args:
        changes: variables that a command sets for itself.

    Raises:
        BadSetting: one is unknown or cannot be used.
        StartRefused: they ask for PostgreSQL, and its driver is not installed.
    """
    settings = read_settings({**os.environ, **changes})
    if settings.metadata_url.startswith("postgresql") and find_spec("psycopg") is None:
        raise StartRefused(
            "PostgreSQL needs psycopg; run in the checkout: .venv/bin/pip install -e '.[postgres]' "
            "(elsewhere: install abplatform with its extra postgres)"
        )
    return settings


def place(settings: Settings) -> str:
    """Where the data are, for people."""
    return str(settings.home.absolute()) if settings.embedded else "the database of ABPLATFORM_DATABASE_URL"


def prepare(settings: Settings) -> None:
    """Make the embedded database, or check a shared one: `bootstrap.prepare_database`, with what to run then.

    Raises:
        SchemaOutdated, StartRefused, Unavailable: see there.
    """
    from abplatform.bootstrap import prepare_database

    try:
        prepare_database(settings)
    except SchemaOutdated as error:
        if not error.is_older:
            raise
        raise SchemaOutdated(f"{error.detail}; run: {program()} db upgrade") from error


@contextmanager
def open_platform(settings: Settings | None = None) -> Iterator[Platform]:
    """The platform that the settings describe, ready to use: an embedded database is created and migrated.

    Raises:
        BadSetting, SchemaOutdated, StartRefused, Unavailable (also for a damaged database): see `abplatform.errors`.
    """
    from abplatform.bootstrap import build_platform

    chosen = settings or usable_settings()
    prepare(chosen)
    with build_platform(chosen) as platform:
        yield platform


def check_has_data(settings: Settings, *, way_out: str = "") -> None:
    """Refuse a place without data.

    Args:
        settings: of the platform.
        way_out: what else the user may have meant.

    Raises:
        StartRefused: there is none.
    """
    if settings.embedded and not (settings.home / "platform.db").is_file():
        raise StartRefused(
            f"there is no data in {place(settings)}; set ABPLATFORM_HOME, or run this in the folder "
            f"where the demo, the import or the server ran{way_out}"
        )


@contextmanager
def open_existing_platform(**changes: str) -> Iterator[Platform]:
    """The same for commands that only read: where there is no embedded database, none is made.

    Args:
        changes: variables that a command sets for itself.

    Raises:
        StartRefused: there is none.
    """
    settings = usable_settings(**changes)
    check_has_data(settings)
    with open_platform(settings) as platform:
        yield platform


def stop_when_told() -> threading.Event:
    """Set when the process is told to end, by SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def log_to_stderr() -> None:
    """Keep stdout for what a command says; log lines are JSON unless a person watches."""
    import structlog

    to_line = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, to_line],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # What libraries say, and those rooms that speak by the standard library, comes in the same shape.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                to_line,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("abplatform").setLevel(logging.INFO)
