"""Claims of sealing that are under way, or whose sealer died."""

from __future__ import annotations

import sqlalchemy as sa

from abplatform.database import reading
from abplatform.domain.events import EventKind
from abplatform.warehouse.tables import inbox_batch, is_claimed


def unfinished_claims(database: sa.Engine, project: str, kind: EventKind) -> frozenset[str]:
    """The seal ids of all claims that are not finished.

    A claim is written before the lake's commit names it, and deleted after. Whoever asks for it after having opened the
    table therefore gets every claim of which that state shows the commit and which is not finished.

    Raises:
        Unavailable: if the database does not answer.
    """
    query = (
        sa.select(inbox_batch.c.claim)
        .where(inbox_batch.c.project == project, inbox_batch.c.kind == kind, is_claimed)
        .distinct()
    )
    with reading(database) as connection:
        return frozenset(connection.execute(query).scalars())
