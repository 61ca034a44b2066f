"""States of the lake that somebody is computing from: expiry leaves them alone for so long.

A hold is a row in the database, not a name in the lake: names are commits, for which every writer of the table would
have to make way. It has an end, so that the hold of a process that died goes away by itself.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import sqlalchemy as sa

from abplatform.database import transaction
from abplatform.domain.aggregates import LakeState
from abplatform.domain.events import EventKind
from abplatform.warehouse.lease import Lease
from abplatform.warehouse.tables import lease

# Longer than any analysis takes.
HELD = timedelta(hours=24)
_NOTHING = "none"


def new_hold(database: sa.Engine, project: str, state: LakeState) -> Lease:
    """A hold of a state of both tables of a project, of its own: to be acquired, and released."""
    states = (_NOTHING if number is None else str(number) for number in (state.exposures, state.conversions))
    return Lease(database, ":".join((_prefix(project), *states, uuid.uuid4().hex)), lasts=HELD)


def held_states(database: sa.Engine, project: str, kind: EventKind, *, now: datetime) -> frozenset[int]:
    """The states of a table that are held; holds that have run out are removed.

    Raises:
        Unavailable: if the database does not answer.
    """
    of_project = lease.c.name.startswith(f"{_prefix(project)}:", autoescape=True)
    with transaction(database) as connection:
        connection.execute(lease.delete().where(of_project, lease.c.expires_at <= now))
        names = connection.execute(sa.select(lease.c.name).where(of_project)).scalars().all()
    numbers = (name.split(":")[2 if kind == "exposure" else 3] for name in names)
    return frozenset(int(number) for number in numbers if number != _NOTHING)


def _prefix(project: str) -> str:
    return f"state:{project}"
