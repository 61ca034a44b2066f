"""What the tests of a product can rely on: chosen variants, kept events, a fixture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from abplatform_sdk import Client, testing

from tests.sdk.server import CONVERSIONS, EXPOSURES, PlatformServer

COPY = {"copy": "10,000 earns 350 in a year"}
RATE = testing.experiment("rate-display", variants={"control": {"copy": "3.5% a year"}, "treatment": COPY})


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


def test_a_chosen_variant_is_assigned_to_every_unit_and_exposed_once() -> None:
    client = testing.client(variants={"rate-display": "treatment"}, payloads={"rate-display": COPY})
    for _ in range(2):
        decision = client.assign("rate-display", "u-1")
    assert (decision.variant, decision.payload, decision.reason) == ("treatment", COPY, "ASSIGNED")
    assert client.assign("rate-display", "u-2").variant == "treatment"
    assert [event["unit_id"] for event in client.exposures] == ["u-1", "u-2"]
    assert client.assign("rate-display", None).reason == "NO_UNIT"


@pytest.mark.parametrize("now", [1_795_000_000.0, 1_795_000_000])
def test_a_stopped_clock_exposes_a_unit_once(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    # The same object at every call, as a library gives that stops the time of a test.
    monkeypatch.setattr(time, "time", lambda: now)
    client = testing.client(variants={"rate-display": "treatment"})
    for _ in range(3):
        client.assign("rate-display", "u-1")
        client.expose(client.evaluate("rate-display", "u-1"))
    assert [event["unit_id"] for event in client.exposures] == ["u-1"]
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    client.assign("rate-display", "u-1")
    assert len(client.exposures) == 2


def test_what_is_kept_is_what_the_server_would_have_got(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    server.snapshot = testing.snapshot(testing.experiment("rate-display", dimensions=["channel"]), version=8)
    kit, real = testing.client(snapshot=server.snapshot), make_client()
    assert real.wait_ready(5)
    for client in (kit, real):
        for unit in ("u-1", "u-2"):
            client.assign("rate-display", unit, {"channel": "douyin", "phone": "13800000000"})
        client.track("purchase", "u-1", value=Decimal("350.00"), properties={"days": 30}, event_id="order-7")
        client.track("purchase", "u-1", value="not a number")
    real.flush(5)
    for kept, sent in ((kit.exposures, EXPOSURES), (kit.conversions, CONVERSIONS)):
        taken = list(server.taken[sent].values())
        changing = ("event_id", "timestamp") if sent == EXPOSURES else ("timestamp",)
        assert [without(event, *changing) for event in kept] == [without(event, *changing) for event in taken]
    assert kit.exposures[0]["attributes"] == {"channel": "douyin"}
    assert kit.conversions[0]["value"] == "350"
    assert datetime.fromisoformat(kit.conversions[0]["timestamp"]).tzinfo is not None
    assert kit.stats().reasons == {"invalid_value": 1}


def test_a_variant_is_forced_for_one_unit_and_lifted_again() -> None:
    client = testing.client(snapshot=testing.snapshot(RATE))
    drawn = client.evaluate("rate-display", "u-1").variant
    other = {"control": "treatment", "treatment": "control"}[str(drawn)]
    rest = [client.evaluate("rate-display", f"u-{number}") for number in range(2, 50)]
    client.force("rate-display", other, unit_id="u-1", payload={"copy": "another"})
    forced = client.assign("rate-display", "u-1")
    assert (forced.variant, forced.payload, forced.in_experiment) == (other, {"copy": "another"}, True)
    assert client.evaluate("rate-display", "u-1") == forced
    assert [client.evaluate("rate-display", f"u-{number}") for number in range(2, 50)] == rest
    assert client.evaluate_all("u-1")["rate-display"].variant == other
    client.force("rate-display", None, unit_id="u-1")
    assert client.assign("rate-display", "u-1").variant == drawn
    assert [event["variant"] for event in client.exposures] == [other, drawn]


def test_forcing_passes_over_status_targeting_coverage_and_holdouts() -> None:
    held = {"q3": {"unit_type": "user_id", "salt": "q3", "range": [0, 1_000_000]}}
    rule = testing.experiment(
        "rate-display", targeting={"country": "CN"}, coverage=0, status="paused", holdouts=["q3"], shipped="control"
    )
    client = testing.client(snapshot=testing.snapshot(rule, holdouts=held))
    assert client.assign("rate-display", "u-1").reason == "NOT_RUNNING"
    client.force("rate-display", "treatment")
    assert client.assign("rate-display", "u-1").reason == "ASSIGNED"


def test_another_experiment_sees_what_is_forced_as_its_prerequisite() -> None:
    needs = [{"experiment": "rate-display", "variants": ["treatment"]}]
    client = testing.client(snapshot=testing.snapshot(RATE, testing.experiment("badge", prerequisites=needs)))
    client.force("rate-display", "treatment", unit_id="u-1")
    client.force("rate-display", "control")
    assert client.assign("badge", "u-1").in_experiment
    assert client.assign("badge", "u-2").reason == "PREREQUISITE"


def test_an_unknown_experiment_gives_the_default_and_raises_in_a_strict_client() -> None:
    assert testing.client().assign("no-such", "u-1", default="as before").payload == "as before"
    strict = testing.client(variants={"rate-display": "control"}, strict=True)
    assert strict.assign("rate-display", "u-1").in_experiment
    for call in (strict.assign, strict.evaluate):
        with pytest.raises(testing.UndefinedExperiment, match="'no-such'"):
            call("no-such", "u-1")


def test_a_product_that_catches_exceptions_does_not_hide_an_undefined_experiment() -> None:
    strict = testing.client(strict=True)

    def page() -> str:
        try:
            return str(strict.assign("no-such", "u-1").variant)
        except Exception:  # noqa: BLE001 (as products do)
            return "as before"

    with pytest.raises(testing.UndefinedExperiment):
        page()


def test_an_experiment_that_is_made_up_for_single_units_is_unknown_to_the_others() -> None:
    client = testing.client(snapshot=testing.snapshot(RATE))
    client.force("badge", "gold", unit_id="u-1")
    client.force("badge", "silver", unit_id="u-2", payload=2)
    assert [client.assign("badge", unit).variant for unit in ("u-1", "u-2", "u-3")] == ["gold", "silver", None]
    assert client.assign("badge", "u-3", default=7).payload == 7
    assert client.evaluate_all("u-3")["badge"].reason == "UNKNOWN_EXPERIMENT"
    assert client.evaluate_all("u-3")["rate-display"].in_experiment
    assert [event["variant"] for event in client.exposures] == ["gold", "silver"]


def test_a_payload_that_is_not_json_is_refused_and_changes_nothing() -> None:
    client = testing.client(variants={"rate-display": "treatment"})
    before = client.evaluate("rate-display", "u-1")
    with pytest.raises(TypeError, match="set"):
        client.force("rate-display", "control", payload={1})
    assert client.evaluate("rate-display", "u-1") == before
    client.force("rate-display", "control")
    assert client.evaluate("rate-display", "u-1").variant == "control"


def test_clearing_forgets_events_and_exposed_units() -> None:
    client = testing.client(variants={"rate-display": "treatment"})
    client.assign("rate-display", "u-1")
    client.track("purchase", "u-1")
    client.clear()
    assert (client.exposures, client.conversions) == ([], [])
    client.assign("rate-display", "u-1")
    assert len(client.exposures) == 1


def test_listeners_hear_of_forced_units_too() -> None:
    client = testing.client(variants={"rate-display": "treatment"})
    client.force("rate-display", "control", unit_id="u-1")
    heard: list[tuple[str, str | None]] = []
    client.add_listener(lambda decision: heard.append((decision.experiment, decision.variant)))
    client.assign("rate-display", "u-1")
    client.assign("rate-display", "u-2")
    assert heard == [("rate-display", "control"), ("rate-display", "treatment")]


def test_the_snapshot_may_be_a_file_or_bytes(tmp_path: Path) -> None:
    document = json.dumps(testing.snapshot(RATE)).encode()
    (tmp_path / "snapshot.json").write_bytes(document)
    for given in (document, tmp_path / "snapshot.json", str(tmp_path / "snapshot.json")):
        for client in (testing.client(snapshot=given), testing.TestingClient.from_snapshot(given)):
            assert client.assign("rate-display", "u-1").reason == "ASSIGNED"
            assert len(client.exposures) == 1


def test_built_experiments_draw_by_weight_and_the_same_in_every_run() -> None:
    rule = testing.experiment("rate-display", variants=("a", "b"), weights={"a": 9}, coverage=0.5, phase=2)
    client = testing.client(snapshot=testing.snapshot(rule))
    decisions = [client.evaluate("rate-display", f"u-{number}") for number in range(2000)]
    inside = [decision.variant for decision in decisions if decision.in_experiment]
    # Five standard deviations of the binomial distribution.
    assert abs(len(inside) - 1000) < 112
    assert abs(inside.count("b") / len(inside) - 0.1) < 0.05
    assert {decision.phase for decision in decisions} == {2}
    again = testing.client(snapshot=testing.snapshot(rule))
    assert [again.evaluate("rate-display", f"u-{number}") for number in range(2000)] == decisions


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: testing.client(variants={"a": "b"}, snapshot=testing.snapshot(testing.experiment("a"))),
            "variant: .*'b'",
        ),
        (lambda: testing.client(payloads={"a": 1}), r"payloads\.a"),
        (lambda: testing.client(snapshot={"schema_version": 1}), "unit_type|version|project"),
        (lambda: testing.client(snapshot=b"[]"), "document"),
        (lambda: testing.snapshot(RATE, RATE), r"experiments\.rate-display"),
        (lambda: testing.experiment("a", coverage=2), "coverage"),
    ],
)
def test_a_mistake_in_a_test_is_told_at_once(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_field_of_an_experiment_is_refused() -> None:
    with pytest.raises(TypeError, match="'pahse'"):
        testing.experiment("a", pahse=2)  # type: ignore[call-arg]


def test_the_client_reaches_for_no_network_and_closes_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("connected"))
    before = threading.active_count()
    client = testing.client(variants={"rate-display": "treatment"})
    client.force("rate-display", "control", unit_id="u-1")
    client.assign("rate-display", "u-1")
    client.track("purchase", "u-1")
    assert client.close(5).delivered == 2
    assert threading.active_count() == before
    assert (len(client.exposures), len(client.conversions)) == (1, 1)


INNER = """
    import sys
    import pytest
    from abplatform_sdk import testing
    from abplatform_sdk.testing import TestingClient

    pytestmark = pytest.mark.abplatform(variants={"rate-display": "control"})


    def test_module_marker(abplatform_client: TestingClient) -> None:
        assert abplatform_client.assign("rate-display", "u-1").variant == "control"
        assert len(abplatform_client.exposures) == 1


    @pytest.mark.abplatform(variants={"rate-display": "treatment"}, payloads={"rate-display": 1}, strict=True)
    def test_own_marker_wins(abplatform_client: TestingClient) -> None:
        assert abplatform_client.exposures == []
        assert abplatform_client.assign("rate-display", "u-1").payload == 1
        with pytest.raises(testing.UndefinedExperiment):
            abplatform_client.assign("no-such", "u-1")
"""


def run_pytest(folder: Path, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_inner.py").write_text(textwrap.dedent(program))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_pytest_finds_the_fixture_and_its_marker_by_itself(tmp_path: Path) -> None:
    ran = run_pytest(tmp_path, INNER)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_the_plugin_costs_a_suite_that_does_not_use_it_neither_urllib3_nor_the_kit(tmp_path: Path) -> None:
    program = """
    import sys

    def test_nothing() -> None:
        assert "abplatform_sdk.pytest_plugin" in sys.modules
        assert not {"urllib3", "http.client", "abplatform_sdk.testing", "abplatform_sdk.transport"} & set(sys.modules)
    """
    # Other plugins of this environment may load what ours must not.
    ran = run_pytest(tmp_path, program, "-p", "no:schemathesis", "-p", "no:hypothesispytest", "-p", "no:anyio")
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
