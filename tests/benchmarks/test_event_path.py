"""The benchmarks of the event path at tiny sizes: that they run, and do what their figures are said to be of."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from abplatform.assignment.hashing import bucket
from benchmarks import ingest, sealing
from benchmarks.event_load.bodies import VARIANTS, Request, draw_population
from benchmarks.event_load.fingerprints import fingerprint, join
from benchmarks.facts import random_ids, time_ordered_ids
from benchmarks.results import check_equal
from benchmarks.results_lake import fill, open_lake, request_for
from benchmarks.results_worker import open_way

SALT = "salt-of-the-test"


@pytest.fixture(scope="module")
def sent() -> list[dict[str, object]]:
    """The events of three sendings of one request."""
    request = Request("exposure", 50, draw_population(SALT, units=1000), "Host: here\r\n")
    events = []
    for _ in range(3):
        request.renew()
        head, _, body = bytes(request.data).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}" in head.decode()
        events += json.loads(body)["events"]
    return events


def test_a_request_that_is_sent_again_carries_other_ids(sent: list[dict[str, object]]) -> None:
    ids = {str(event["event_id"]) for event in sent}
    assert len(ids) == len(sent) == 150
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in ids} == {(7, uuid.RFC_4122)}


def test_the_exposures_of_a_request_have_the_variants_that_the_platform_draws(sent: list[dict[str, object]]) -> None:
    drawn = {str(event["unit_id"]): event["variant"] for event in sent}
    assert len(drawn) == 150
    assert drawn == {unit: VARIANTS[bucket(SALT, unit) >= 500_000] for unit in drawn}


def test_the_times_of_a_request_are_those_of_its_sending(sent: list[dict[str, object]]) -> None:
    now = datetime.now(UTC)
    for event in sent:
        assert abs(now - datetime.fromisoformat(str(event["timestamp"]))) < timedelta(minutes=1)


def test_every_acknowledged_event_of_the_load_is_stored() -> None:
    # `measure` itself compares, and raises on any difference or refusal.
    outcome = ingest.measure(ingest.Case(batch=50, mix="both", seconds=0.2, workers=1, units=1000))
    assert outcome.stored.lake + outcome.stored.inbox == outcome.acknowledged > 0
    assert outcome.closed.cpu > 0


def test_a_fingerprint_is_of_the_set_of_ids_and_of_no_other() -> None:
    request = Request("exposure", 50, draw_population(SALT, units=1000), "Host: here\r\n")
    request.renew()
    before, parts = request.ids(request.id_parts), request.id_parts
    request.renew()
    assert (request.ids(parts) == before).all()
    assert fingerprint(before[::-1].copy()) == fingerprint(before)
    assert fingerprint(before) == join(fingerprint(before[:20]), fingerprint(before[20:]))
    other = before.copy()
    other[0, -1] ^= 1
    twice = np.concatenate([before[:-1], before[:1]])
    assert len({fingerprint(ids) for ids in (before, other, twice, before[1:], request.ids(request.id_parts))}) == 5


def test_the_bare_server_keeps_what_it_is_sent() -> None:
    stretch = ingest.measure_bare("batches", ingest.Case(seconds=0.2, workers=1, units=1000))
    assert stretch.report.acknowledged == stretch.report.answered > 0


def test_a_worker_seals_every_event_once(tmp_path: Path) -> None:
    sizes = sealing.Sizes(history=300, events=2_000, units=100, days=2)
    done = sealing.Installation(tmp_path, sizes, time_ordered=False).seal(10)
    # Every hundredth of 200 requests comes twice.
    assert done.events == 2_020


def test_the_engine_and_sql_by_hand_give_equal_numbers(tmp_path: Path) -> None:
    fill(tmp_path, [30_000])
    lake, request = open_lake(tmp_path), request_for(30_000)
    ours, by_hand = (open_way(way)(lake, request, None) for way in ("engine", "hand"))
    lake.close()
    # It raises on any difference.
    check_equal(ours, by_hand)
    assert ours["control"][0] > ours["control"][1], "units of both variants are left out"


def test_ids_are_of_the_version_that_they_are_said_to_be() -> None:
    chance, when = np.random.default_rng(1), np.array([1_700_000_000_123_456])
    (ordered,), (random,) = time_ordered_ids(when, chance).to_pylist(), random_ids(1, chance).to_pylist()
    # As in the SDK's own example.
    assert ordered[:15] == "018bcfe5-687b-7"
    assert uuid.UUID(random).version == 4
