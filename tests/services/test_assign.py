"""What is read once per published version, and who is meant by an evaluation context."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.assignment import Snapshot, decode_snapshot, encode_snapshot
from abplatform.errors import InvalidInput, NotFound
from abplatform.services import assign
from abplatform.services.assign import Assigner, Published, read_context
from abplatform.services.expose import Call
from abplatform.services.ingest import Intake
from abplatform.storage.session import UnitOfWork
from abplatform.storage.snapshots import PublishedSnapshot
from abplatform.warehouse.inbox import Inbox
from tests.assignment.documents import a_rule, a_snapshot
from tests.builders import later

AGE = later(days=36_500) - later()
NOBODY = Call(unit_id=None, units={}, attributes={})


def publish(uow: UnitOfWork, version: int, experiments: dict[str, Any]) -> None:
    """Publish a snapshot as it stands."""
    document = encode_snapshot(a_snapshot(experiments, version=version))
    with uow.begin() as work:
        work.snapshots.publish("default", PublishedSnapshot(version=version, document=document, etag=f"tag-{version}"))


@pytest.fixture(name="assigner")
def _assigner(uow: UnitOfWork, database: sa.Engine) -> Assigner:
    return Assigner(uow, Intake(uow, Inbox(database), pseudonym_key=b"key", max_age=AGE))


@pytest.fixture(name="published")
def _published(uow: UnitOfWork, assigner: Assigner) -> Published:
    publish(uow, 1, {"by-user": a_rule(), "by-device": a_rule(unit_type="device_id"), "by-home": a_rule(unit_type="h")})
    return assigner.read("default")


def test_before_anything_has_started_there_is_an_empty_snapshot(assigner: Assigner) -> None:
    published = assigner.read("default")
    assert (published.version, published.evaluate(NOBODY)) == (0, {})
    assert published.evaluate(NOBODY, ["e"])["e"].reason == "UNKNOWN_EXPERIMENT"


def test_a_project_that_is_not_there_is_not_found(assigner: Assigner) -> None:
    with pytest.raises(NotFound):
        assigner.read("elsewhere")


def test_the_next_snapshot_is_served_as_soon_as_it_is_published(uow: UnitOfWork, assigner: Assigner) -> None:
    publish(uow, 1, {"a": a_rule()})
    assert (assigner.read("default").version, set(assigner.read("default").evaluate(NOBODY))) == (1, {"a"})
    publish(uow, 2, {"b": a_rule()})
    second = assigner.read("default")
    assert (second.version, second.etag, set(second.evaluate(NOBODY))) == (2, "tag-2", {"b"})


def test_a_call_costs_one_small_query_while_nothing_new_is_published(
    published: Published, assigner: Assigner, database: sa.Engine
) -> None:
    statements: list[str] = []
    sa.event.listen(database, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
    assert assigner.read("default") is published
    queries = [text for text in statements if text.startswith("SELECT")]
    assert len(queries) == 1
    assert "version" in queries[0]
    assert "document" not in queries[0]


def test_a_snapshot_is_decoded_after_its_transaction_has_ended(
    uow: UnitOfWork, assigner: Assigner, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(uow, 1, {"a": a_rule()})
    connections: list[int] = []
    sa.event.listen(database, "checkout", lambda *_: connections.append(1))
    sa.event.listen(database, "checkin", lambda *_: connections.pop())
    open_while_decoding: list[int] = []

    def decode(document: bytes) -> Snapshot:
        open_while_decoding.append(len(connections))
        return decode_snapshot(document)

    monkeypatch.setattr(assign, "decode_snapshot", decode)
    assert set(assigner.read("default").evaluate(NOBODY)) == {"a"}
    assert open_while_decoding == [0]


def test_a_thread_that_decodes_an_older_snapshot_meanwhile_holds_nobody_back(
    uow: UnitOfWork, assigner: Assigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(uow, 1, {"a": a_rule()})
    begun, overtaken = threading.Event(), threading.Event()

    def decode_slowly(document: bytes) -> Snapshot:
        if not begun.is_set():
            begun.set()
            assert overtaken.wait(10)
        return decode_snapshot(document)

    monkeypatch.setattr(assign, "decode_snapshot", decode_slowly)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(assigner.read, "default")
        assert begun.wait(10)
        publish(uow, 2, {"b": a_rule()})
        assert set(assigner.read("default").evaluate(NOBODY)) == {"b"}
        overtaken.set()
        assert (slow.result().version, set(slow.result().evaluate(NOBODY))) == (1, {"a"}), "what it has read"
    last = assigner.read("default")
    assert (last.version, set(last.evaluate(NOBODY))) == (2, {"b"})
    assert assigner.read("default") is last


def test_unknown_experiments_are_answered_for_and_others_only_if_asked_for(published: Published) -> None:
    call = Call(unit_id="u-1", units={"device_id": "d-1"}, attributes={})
    assert {key: one.reason for key, one in published.evaluate(call).items()} == {
        "by-device": "ASSIGNED",
        "by-home": "NO_UNIT",
        "by-user": "ASSIGNED",
    }
    assert {key: one.reason for key, one in published.evaluate(call, ["by-user", "x"]).items()} == {
        "by-user": "ASSIGNED",
        "x": "UNKNOWN_EXPERIMENT",
    }


@pytest.mark.parametrize(
    ("context", "unit_id", "units", "attributes"),
    [
        ({}, None, {}, {}),
        ({"targetingKey": None, "units": None}, None, {}, {}),
        ({"targetingKey": ""}, None, {}, {}),
        ({"targetingKey": "u-1", "country": "CN"}, "u-1", {}, {"country": "CN"}),
        ({"units": {"device_id": "d-1", "other": "o"}}, None, {"device_id": "d-1", "other": "o"}, {}),
        ({"device_id": "d-1", "h": "h-1"}, None, {"device_id": "d-1", "h": "h-1"}, {"device_id": "d-1", "h": "h-1"}),
        ({"device_id": "d-1", "units": {"device_id": "d-2"}}, None, {"device_id": "d-2"}, {"device_id": "d-1"}),
        ({"device_id": 7, "h": ""}, None, {}, {"device_id": 7, "h": ""}),
        ({"user_id": "u-2", "targetingKey": "u-1"}, "u-1", {}, {"user_id": "u-2"}),
    ],
)
def test_a_context_names_ids_and_attributes(
    published: Published, context: Any, unit_id: str | None, units: dict[str, str], attributes: dict[str, Any]
) -> None:
    assert read_context(context, published) == Call(unit_id=unit_id, units=units, attributes=attributes)


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"targetingKey": 7}, "context.targetingKey"),
        ({"targetingKey": False}, "context.targetingKey"),
        ({"targetingKey": []}, "context.targetingKey"),
        ({"targetingKey": "u" * 257}, "context.targetingKey"),
        ({"units": []}, "context.units"),
        ({"units": ""}, "context.units"),
        ({"units": "device_id"}, "context.units"),
        ({"units": {"device_id": 7}}, "context.units.device_id"),
        ({"units": {"device_id": None}}, "context.units.device_id"),
        ({"units": {"device_id": ""}}, "context.units.device_id"),
        ({"units": {"device_id": "d" * 257}}, "context.units.device_id"),
    ],
)
def test_an_id_that_cannot_be_one_is_named(published: Published, context: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_context(context, published)
    assert set(refused.value.errors) == {field}
