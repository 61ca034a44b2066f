"""What the commands share: settings and an open platform."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from abplatform.settings import Settings, read_settings

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform


@contextmanager
def open_platform(settings: Settings | None = None) -> Iterator[Platform]:
    """The platform that the settings describe, ready to use: an embedded database is created and migrated.

    Raises:
        BadSetting, SchemaOutdated, StartRefused, Unavailable: see `abplatform.errors`.
    """
    from abplatform.bootstrap import build_platform, prepare_database

    chosen = settings or read_settings()
    prepare_database(chosen)
    with build_platform(chosen) as platform:
        yield platform


def log_to_stderr() -> None:
    """Keep stdout for what a command says; log lines are JSON unless a person watches."""
    import structlog

    watched = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
