"""A project with a metric, on both databases; and a platform whose lake holds a whole history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
import sqlalchemy as sa

from abplatform.bootstrap import Platform
from abplatform.services import define
from abplatform.storage.session import UnitOfWork
from tests.builders import a_metric
from tests.services.ledger import Ledger, open_ledger, write


@pytest.fixture
def uow(database: sa.Engine, now: datetime) -> UnitOfWork:
    """A unit of work on a new database with the project ``default`` and the metric ``purchase``."""
    uow = UnitOfWork(database)
    with uow.begin() as work:
        work.projects.ensure("default", now=now)
        define.create_metric(work, "default", a_metric(), now=now)
    return uow


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """What customers did."""
    return write()


@pytest.fixture(scope="session")
def kept(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that knows the same, which tests only look at."""
    with open_ledger(tmp_path_factory.mktemp("ledger"), ledger) as platform:
        yield platform
