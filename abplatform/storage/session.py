"""The unit of work: one transaction, and the repositories that see through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from abplatform.database import reading, transaction
from abplatform.storage.audit import AuditTrail
from abplatform.storage.behaviours import Behaviours
from abplatform.storage.experiments import Experiments
from abplatform.storage.holdouts import Holdouts
from abplatform.storage.installation import Installation
from abplatform.storage.kept_units import KeptEntries
from abplatform.storage.keys import Keys
from abplatform.storage.layers import Layers
from abplatform.storage.looks import Looks
from abplatform.storage.metrics import Metrics
from abplatform.storage.projects import Projects
from abplatform.storage.replies import Replies
from abplatform.storage.segments import Segments
from abplatform.storage.snapshots import Snapshots


class Work:
    """The repositories of one open transaction; they take and return domain objects."""

    def __init__(self, connection: sa.Connection) -> None:
        self.installation = Installation(connection)
        self.projects = Projects(connection)
        self.keys = Keys(connection)
        self.metrics = Metrics(connection)
        self.layers = Layers(connection)
        self.holdouts = Holdouts(connection)
        self.segments = Segments(connection)
        self.behaviours = Behaviours(connection)
        self.experiments = Experiments(connection)
        self.snapshots = Snapshots(connection)
        self.looks = Looks(connection)
        self.kept_units = KeptEntries(connection)
        self.replies = Replies(connection)
        self.audit = AuditTrail(connection)


class UnitOfWork:
    """Opens transactions on a database.

    Args:
        database: the metadata database, with the current schema.
    """

    def __init__(self, database: sa.Engine) -> None:
        self._database = database

    @contextmanager
    def begin(self) -> Iterator[Work]:
        """A transaction that changes something: commits at the end, rolls back on any exception.

        Raises:
            Unavailable: the database does not answer, is locked for too long, or has no room.
        """
        with transaction(self._database) as connection:
            yield Work(connection)

    @contextmanager
    def reading(self) -> Iterator[Work]:
        """A view for reading only.

        Raises:
            Unavailable: the database does not answer.
        """
        with reading(self._database) as connection:
            yield Work(connection)
