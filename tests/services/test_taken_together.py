"""Requests that are taken together come to what each of them comes to alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.domain.events import EventKind
from abplatform.services import define, live
from abplatform.services.build_facts import Pseudonyms
from abplatform.services.recall import Memory
from abplatform.services.take_at_once import Request, Taker
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.tables import inbox_batch
from tests.builders import NOW, an_experiment, later
from tests.facts import unpack_facts

SENT: dict[str, Any] = {"timestamp": NOW.isoformat(), "unit_id": "u-1"}
EXPOSURE = SENT | {"experiment": "rate-display", "variant": "control", "phase": 1, "attributes": {"channel": "web"}}
ANOTHER = EXPOSURE | {"experiment": "another", "variant": "treatment", "attributes": {}}
CONVERSION = SENT | {"event": "purchase", "value": "1.50", "properties": {"product": "fund"}}


def body(*events: dict[str, Any], sent_at: timedelta = timedelta(0), **more: Any) -> bytes:
    content = {"events": list(events), "sent_at": (NOW - sent_at).isoformat(), **more}
    return json.dumps(content, separators=(",", ":")).encode()


def events(kind: dict[str, Any], *ids: str, **changes: Any) -> list[dict[str, Any]]:
    merged = [kind | {"event_id": id_} | changes for id_ in ids]
    return [{name: value for name, value in each.items() if value is not None} for each in merged]


BODIES: list[tuple[str, EventKind, bytes]] = [
    ("plain", "exposure", body(*events(EXPOSURE, "e-1", "e-2"))),
    ("a wrong clock", "exposure", body(*events(EXPOSURE, "e-3"), sent_at=timedelta(minutes=5))),
    ("no JSON", "exposure", b"{"),
    ("two experiments", "exposure", body(*events(ANOTHER, "e-4"), *events(EXPOSURE, "e-5", unit_id="u-2"))),
    ("conversions", "conversion", body(*events(CONVERSION, "c-1", "c-2"))),
    ("no phase", "exposure", body(*events(EXPOSURE, "e-6", phase=None))),
    ("an unknown variant", "exposure", body(*events(EXPOSURE, "e-7", variant="none"))),
    ("a key twice", "exposure", body(*events(EXPOSURE, "e-8")).replace(b'"phase":1', b'"phase":1,"phase":1')),
    ("an amount to look at", "conversion", body(*events(CONVERSION, "c-3", value="1e1"))),
    ("a unit of another type", "conversion", body(*events(CONVERSION, "c-4", unit_id=None, units={"device_id": "d"}))),
    ("too deep", "conversion", b'{"events":[{"value":' + b"[" * 3000 + b"]" * 3000 + b"}]}"),
    ("an old event", "exposure", body(*events(EXPOSURE, "e-9", timestamp="2001-01-01T00:00:00Z"))),
    ("properties", "conversion", body(*events(CONVERSION, "c-5", properties={"n": 1.0, "a": None, "b": 'say "no"'}))),
]


@pytest.mark.parametrize("left_out", [(), ("two experiments", "no phase"), ("an unknown variant", "a key twice")])
def test_requests_taken_together_come_to_what_each_comes_to_alone(
    uow: UnitOfWork, database: sa.Engine, left_out: tuple[str, ...]
) -> None:
    with uow.begin() as work:
        for key in ("rate-display", "another"):
            define.create_experiment(work, "default", an_experiment(key, dimensions=("channel",)), now=NOW)
            live.take_step(work, "default", key, "start", now=NOW)
    taker = Taker(Memory(uow), Inbox(database), Pseudonyms(b"k" * 32), max_age=timedelta(days=400))
    requests = [
        Request("default", kind, content, later(seconds=number))
        for number, (name, kind, content) in enumerate(BODIES)
        if name not in left_out
    ]

    alone = [outcome for request in requests for outcome in take(taker, [request])]
    facts_alone = forget_facts(database)
    together = take(taker, requests)

    assert together == alone
    assert forget_facts(database) == facts_alone
    assert alone.count(None) == 6 - len({"an unknown variant", "a key twice"} & set(left_out))


def take(taker: Taker, requests: Sequence[Request]) -> Sequence[int | None]:
    """Take requests as if they had met."""
    return taker._keep(taker._prepare(requests))


def forget_facts(database: sa.Engine) -> dict[str, list[Any]]:
    """All facts of the inbox by kind, in the order of acceptance; it is empty then."""
    found: dict[str, list[Any]] = {"exposure": [], "conversion": []}
    with database.begin() as connection:
        for row in connection.execute(sa.select(inbox_batch).order_by(inbox_batch.c.id)):
            found[row.kind] += unpack_facts(row.kind, row.payload)
        connection.execute(inbox_batch.delete())
    return found
