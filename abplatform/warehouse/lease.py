"""A lease: one of many may do a job, and a dead holder blocks it for seconds only."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from abplatform.database import transaction
from abplatform.warehouse.tables import lease

LEASE_TIME = timedelta(seconds=10)


def _now() -> datetime:
    return datetime.now(UTC)


class Lease:
    """The right to do a named job for a while.

    It saves work and does not guard truth: whoever acts on it must stay right if two hold it for a moment (a
    process that was frozen, clocks that differ).

    Args:
        database: the metadata database.
        name: of the job.
        lasts: how long it holds unless renewed.
        clock: the time, with a zone.
    """

    def __init__(
        self,
        database: sa.Engine,
        name: str,
        *,
        lasts: timedelta = LEASE_TIME,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self._name = name
        self._lasts = lasts
        self._clock = clock
        self._holder = uuid.uuid4().hex

    def acquire(self, *, until: datetime | None = None) -> bool:
        """Take or renew the lease, ``until`` some time if that is said; False if another one holds it."""
        now = self._clock()
        claim = {"holder": self._holder, "expires_at": until or now + self._lasts}
        free = sa.or_(lease.c.holder == self._holder, lease.c.expires_at <= now)
        with transaction(self._database) as connection:
            if connection.execute(lease.update().where(lease.c.name == self._name, free).values(claim)).rowcount:
                return True
            if connection.execute(sa.select(lease.c.name).where(lease.c.name == self._name)).first() is not None:
                return False
        return self._create(claim)

    def release(self) -> None:
        """Give it back if it is still ours."""
        with transaction(self._database) as connection:
            connection.execute(lease.delete().where(lease.c.name == self._name, lease.c.holder == self._holder))

    def _create(self, claim: dict[str, object]) -> bool:
        try:
            with transaction(self._database) as connection:
                connection.execute(lease.insert().values(name=self._name, **claim))
        except IntegrityError:
            return False  # Someone else was first.
        return True
