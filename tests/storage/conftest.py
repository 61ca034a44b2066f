"""Units of work on a database with a project."""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from abplatform.storage.session import UnitOfWork


@pytest.fixture
def uow(database: sa.Engine, now: datetime) -> UnitOfWork:
    """A unit of work on a new database with the project ``default``."""
    uow = UnitOfWork(database)
    with uow.begin() as work:
        work.projects.ensure("default", now=now)
    return uow
