"""A project with a metric, on both databases."""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from abplatform.services import define
from abplatform.storage.session import UnitOfWork
from tests.builders import a_metric


@pytest.fixture
def uow(database: sa.Engine, now: datetime) -> UnitOfWork:
    """A unit of work on a new database with the project ``default`` and the metric ``purchase``."""
    uow = UnitOfWork(database)
    with uow.begin() as work:
        work.projects.ensure("default", now=now)
        define.create_metric(work, "default", a_metric(), now=now)
    return uow
