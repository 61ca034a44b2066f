"""Hold the lake: of several databases that were given the same one, only one may take files away.

Two databases come to share a lake when one is a copy of the other: restored from a backup while the first one goes on,
or for a look at yesterday. Neither knows the files that the other has written since, and would remove them as
leftovers. So the lake carries a marker with a random token, and the database keeps the tokens that it has chosen.
Before each piece of tending it must find one of its own there, and leaves a new one, which no copy knows, unless that
was done a moment ago.

The new token is in the database before it is on the marker: whoever dies in between finds the former one there, which
the database still knows. A few earlier ones stay known, for a worker that was halted in between for minutes.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from abplatform.errors import Conflict, Unavailable
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.marker import Marker, read_marker, write_marker

_FACT = "lake_tokens"
# One for each round of the worker, however many tables and workers there are.
_FRESH = timedelta(seconds=30)
# With the one that was found and the new one as many as the column has room for; minutes at the least.
_EARLIER = 8
_MOST_TRIES = 20


class LakeHeldElsewhere(Conflict):
    """Another database has gone on with this lake."""


def hold_lake(uow: UnitOfWork, lake: Lake, *, now: datetime) -> None:
    """Make sure that the lake is this database's, and that no copy of the database can say so from now on.

    Any number of workers may do it at once. A lake without a marker gets one.

    Args:
        uow: the database.
        lake: to be tended.
        now: the time.

    Raises:
        LakeHeldElsewhere: if another database has gone on with it.
        FileNotFoundError: if the folder of the lake does not exist.
        Unavailable: if a part does not answer. Calling again goes on, at whatever point it was.
    """
    for _ in range(_MOST_TRIES):
        marker, known = _read(uow, lake)
        tokens = () if known is None else known.split()
        if not _is_ours(marker, tokens, lake):
            raise LakeHeldElsewhere(_explain(lake))
        if marker is None and tokens:
            # Deleted, or left out of a copy. No new token, so that the one of a storage that comes back stays known.
            write_marker(lake, Marker(tokens[-1], lake.is_shared))
            return
        if tokens and abs(now - _time(tokens[-1])) < _FRESH:
            return
        if _leave(uow, lake, marker, known, now=now):
            return
    raise Unavailable("others tend this lake all the time; try again shortly")


def check_lake(uow: UnitOfWork, lake: Lake) -> None:
    """Make sure that the lake is this database's; nothing is written.

    Raises:
        LakeHeldElsewhere, FileNotFoundError, Unavailable: see `hold_lake`.
    """
    marker, known = _read(uow, lake)
    if not _is_ours(marker, () if known is None else known.split(), lake):
        raise LakeHeldElsewhere(_explain(lake))


def adopt_lake(uow: UnitOfWork, lake: Lake, *, now: datetime) -> None:
    """Make the lake this database's, whoever had it. Another database that goes on with it will find that it may not.

    Raises:
        FileNotFoundError, Unavailable: see `hold_lake`.
    """
    for _ in range(_MOST_TRIES):
        _, known = _read(uow, lake)
        if _leave(uow, lake, None, known, now=now):
            return
    raise Unavailable("others tend this lake all the time; try again shortly")


def _read(uow: UnitOfWork, lake: Lake) -> tuple[Marker | None, str | None]:
    # In this order: the token of a marker was in the database before.
    marker = read_marker(lake)
    with uow.reading() as work:
        return marker, work.installation.find(_FACT)


def _is_ours(marker: Marker | None, tokens: Sequence[str], lake: Lake) -> bool:
    if marker is None or marker.token in tokens:
        return True
    # A home that was copied while its server ran: the lake's marker is a little newer than the database. Both came
    # together, and nobody else is in that folder, unless it was given to another database by its address.
    return bool(tokens) and not lake.is_shared and not marker.shared


def _leave(uow: UnitOfWork, lake: Lake, found: Marker | None, known: str | None, *, now: datetime) -> bool:
    """Choose a token and leave it on the marker; False if another worker was quicker to choose one."""
    former = () if known is None else known.split()
    on_marker = [found.token] if found is not None and found.token in former else []
    new = f"{int(now.timestamp()):x}-{secrets.token_hex(4)}"
    earlier = [token for token in former if token not in on_marker][-_EARLIER:]
    with uow.begin() as work:
        chosen = work.installation.replace(_FACT, known, " ".join((*on_marker, *earlier, new)))
    if chosen:
        write_marker(lake, Marker(new, lake.is_shared))
    return chosen


def _time(token: str) -> datetime:
    return datetime.fromtimestamp(int(token.partition("-")[0], 16), UTC)


def _explain(lake: Lake) -> str:
    return (
        f"another database has gone on with the lake in {lake.root}, perhaps the one that this one is a copy of: its "
        "files are left alone, and nothing is merged or removed. If this database is the right one, stop the other and "
        "run: abplatform lake adopt"
    )
