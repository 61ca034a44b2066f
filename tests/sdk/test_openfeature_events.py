"""The OpenFeature provider through its life: start, events, stale answers, conversions, hooks, threads, its end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from abplatform_sdk import Client
from abplatform_sdk.openfeature import AbplatformProvider
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationOptions
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus
from openfeature.provider.no_op_provider import NoOpProvider
from openfeature.track import TrackingEventDetails

from tests.sdk import server as faults
from tests.sdk.conftest import QUICK
from tests.sdk.flagged import U1, bind, flags
from tests.sdk.server import CONVERSIONS, EXPOSURES, KEY, SNAPSHOT, PlatformServer
from tests.sdk.snapshots import DEFAULT, TREATMENT, rule, snapshot

ROOT = Path(__file__).parents[2]
COPIES = (DEFAULT["copy"], TREATMENT["copy"])
Eventually = Callable[[Callable[[], object]], None]


@pytest.fixture(autouse=True)
def _clean(server: PlatformServer) -> Iterator[None]:  # which outlives the providers
    yield
    api.shutdown()


@pytest.fixture
def heard() -> list[tuple[str, EventDetails]]:
    """Every event of every provider, with its name."""
    events: list[tuple[str, EventDetails]] = []
    handlers = {event: lambda details, name=event.name: events.append((name, details)) for event in ProviderEvent}
    for event, handler in handlers.items():
        api.add_handler(event, handler)
    events.clear()  # the provider of OpenFeature itself is ready
    return events


def names(events: list[tuple[str, EventDetails]]) -> list[str]:
    return [name for name, details in events if details.provider_name == "abplatform"]


def connect(server: PlatformServer, **options: Any) -> AbplatformProvider:
    return AbplatformProvider.connect(server.url, KEY, **(QUICK | options))


def test_the_start_waits_for_the_snapshot_and_the_news_become_events(
    server: PlatformServer, heard: list[tuple[str, EventDetails]], eventually: Eventually
) -> None:
    asked = bind(connect(server))
    assert asked.get_provider_status() == ProviderStatus.READY
    before = asked.get_string_details("rate-display.copy", "default", U1)
    assert (before.reason, before.value in COPIES) == ("SPLIT", True)
    server.snapshot = snapshot(8, other=rule())
    eventually(lambda: names(heard) == ["PROVIDER_READY", "PROVIDER_CONFIGURATION_CHANGED"])
    changed = heard[-1][1]
    assert (changed.flags_changed, changed.metadata) == (None, {"version": "8"})
    server.answers[SNAPSHOT] = faults.problem(503)
    eventually(lambda: asked.get_provider_status() == ProviderStatus.STALE)
    answer = asked.get_string_details("rate-display.copy", "default", U1)
    assert (answer.reason, answer.flag_metadata["reason"]) == ("STALE", "ASSIGNED")
    assert (answer.value, answer.variant) == (before.value, before.variant)
    assert asked.get_string_details("none", "default", U1).reason == "ERROR"
    del server.answers[SNAPSHOT]
    eventually(lambda: asked.get_provider_status() == ProviderStatus.READY)
    assert asked.get_string_details("rate-display.copy", "default", U1).reason == "SPLIT"
    eventually(lambda: names(heard)[2:] == ["PROVIDER_STALE", "PROVIDER_READY"])
    assert heard[2][1].message == "status 503"


def test_a_refused_key_is_fatal_at_once_and_heals_when_it_is_accepted(
    server: PlatformServer, heard: list[tuple[str, EventDetails]], eventually: Eventually
) -> None:
    server.answers[SNAPSHOT] = faults.problem(401)
    provider = connect(server, init_timeout=30)
    began = time.monotonic()
    with pytest.raises(ProviderFatalError, match="status 401"):
        bind(provider)
    assert time.monotonic() - began < 5
    api.set_provider(provider, "again")  # bound already: not initialised again
    asked = api.get_client("again")
    assert asked.get_provider_status() == ProviderStatus.FATAL
    assert asked.get_string_details("rate-display.copy", "default", U1).error_code == "PROVIDER_FATAL"
    eventually(lambda: "PROVIDER_ERROR" in names(heard)[1:])
    assert heard[-1][1].error_code == "PROVIDER_FATAL"
    del server.answers[SNAPSHOT]
    eventually(lambda: asked.get_provider_status() == ProviderStatus.READY)
    assert asked.get_string_value("rate-display.copy", "default", U1) in COPIES


def test_a_server_that_is_away_is_waited_for_so_long_and_no_longer(
    server: PlatformServer, eventually: Eventually
) -> None:
    server.answers[SNAPSHOT] = faults.problem(503)
    provider = connect(server, init_timeout=0.3)
    began = time.monotonic()
    with pytest.raises(ProviderNotReadyError, match="status 503"):
        api.set_provider_and_wait(provider, "away")
    assert 0.3 <= time.monotonic() - began < 2
    asked = api.get_client("away")
    assert asked.get_provider_status() == ProviderStatus.ERROR
    answer = asked.get_string_details("rate-display.copy", "default", U1)
    assert (answer.value, answer.error_code) == ("default", "PROVIDER_NOT_READY")
    del server.answers[SNAPSHOT]
    eventually(lambda: asked.get_provider_status() == ProviderStatus.READY)
    assert asked.get_string_value("rate-display.copy", "default", U1) in COPIES


def test_a_disk_copy_answers_without_waiting_and_says_that_it_is_stale(
    server: PlatformServer, heard: list[tuple[str, EventDetails]], tmp_path: Path, eventually: Eventually
) -> None:
    first = Client(server.url, KEY, **(QUICK | {"cache_dir": tmp_path}))
    assert first.wait_ready(5)
    first.close(0)
    server.answers[SNAPSHOT] = faults.problem(503)
    began = time.monotonic()
    asked = bind(connect(server, cache_dir=tmp_path, init_timeout=30))
    assert time.monotonic() - began < 5
    answer = asked.get_string_details("rate-display.copy", "default", U1)
    assert (answer.reason, answer.value in COPIES) == ("STALE", True)
    server.snapshot = snapshot(8, rate_display=rule(shipped="treatment"))
    del server.answers[SNAPSHOT]
    eventually(lambda: "PROVIDER_CONFIGURATION_CHANGED" in names(heard))
    eventually(lambda: asked.get_string_details("rate-display.copy", "default", U1).reason == "TARGETING_MATCH")


def test_a_provider_that_is_replaced_flushes_leaves_the_products_client_open_and_says_no_more(
    server: PlatformServer, client: Client, heard: list[tuple[str, EventDetails]], eventually: Eventually
) -> None:
    asked = bind(AbplatformProvider(client))
    asked.get_string_value("rate-display.copy", "default", U1)
    api.set_provider(NoOpProvider(), asked.domain)
    eventually(lambda: len(server.taken[EXPOSURES]) == 1)
    eventually(lambda: not client._snapshot_listeners.all)
    before = len(names(heard))
    server.snapshot = snapshot(8)
    eventually(lambda: client.stats().snapshot_version == 8)
    assert len(names(heard)) == before
    assert client.assign("rate-display", "u-2").reason == "ASSIGNED"
    eventually(lambda: len(server.taken[EXPOSURES]) == 2)
    assert client.stats().listener_errors == 0


def test_a_client_that_the_provider_made_is_closed_with_it_and_made_anew(server: PlatformServer) -> None:
    provider = connect(server)
    asked = bind(provider)
    asked.get_string_value("rate-display.copy", "default", U1)
    api.clear_providers()
    assert len(server.taken[EXPOSURES]) == 1
    first = provider._client
    assert not first.track("purchase", "u-1")
    again = bind(provider)
    assert provider._client is not first
    assert again.get_string_details("rate-display.copy", "default", EvaluationContext("u-2")).reason == "SPLIT"
    api.clear_providers()
    assert len(server.taken[EXPOSURES]) == 2


@pytest.mark.parametrize("timeout", [-1, float("nan"), 3601, "5"])
def test_a_bad_timeout_is_refused_by_name(timeout: Any) -> None:
    with pytest.raises(ValueError, match="init_timeout"):
        AbplatformProvider.connect("http://127.0.0.1:9", KEY, init_timeout=timeout, cache_dir=None)
    with pytest.raises(ValueError, match="batch_size"):
        AbplatformProvider.connect("http://127.0.0.1:9", KEY, batch_size=1)


def test_a_tracked_event_is_a_conversion_with_its_value_and_flat_attributes() -> None:
    asked, client = flags()
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    attributes: dict[str, Any] = {"product": "deposit", "days": 30, "new": True, "at": noon, "nested": {"a": 1}}
    context = EvaluationContext("u-1", {"country": "CN", "units": {"device_id": "d-1"}})
    asked.track("purchase", context, TrackingEventDetails(350.25, attributes))
    asked.track("visit", EvaluationContext("u-2"))
    first, second = client.conversions
    assert (first["event"], first["unit_id"], first["units"]) == ("purchase", "u-1", {"device_id": "d-1"})
    assert float(first["value"]) == 350.25
    assert first["properties"] == {
        "product": "deposit",
        "days": 30,
        "new": True,
        "at": "2026-11-25T12:00:00.000Z",
    }
    assert second.keys() == {"event_id", "event", "unit_id", "timestamp"}


def test_an_event_without_a_unit_or_with_a_bad_context_is_dropped_and_counted() -> None:
    asked, client = flags()
    asked.track("purchase")
    asked.track("purchase", EvaluationContext("u-1", {"units": 7}))
    assert client.conversions == []
    assert client.stats().reasons == {"invalid_unit": 2}


def test_conversions_reach_the_server(server: PlatformServer) -> None:
    bind(connect(server)).track("purchase", U1, TrackingEventDetails(1))
    api.clear_providers()
    assert [event["event"] for event in server.taken[CONVERSIONS].values()] == ["purchase"]


def test_hooks_before_change_the_context_and_hooks_after_see_why(client: Client) -> None:
    seen: list[Any] = []

    class Spy(Hook):
        def before(self, hook_context: Any, hints: Any) -> EvaluationContext:
            return EvaluationContext("u-of-the-hook", {"channel": "app"})

        def after(self, hook_context: Any, details: Any, hints: Any) -> None:
            seen.append((hook_context.provider_metadata.name, details.variant, details.flag_metadata["experiment"]))

    options = FlagEvaluationOptions(hooks=[Spy()])
    asked = bind(AbplatformProvider(client))
    asked.get_string_value("rate-display.copy", "default", None, options)
    assert seen == [("abplatform", client.evaluate("rate-display", "u-of-the-hook").variant, "rate-display")]


def test_threads_see_whole_answers_while_snapshots_change(server: PlatformServer, eventually: Eventually) -> None:
    provider = connect(server)
    asked = bind(provider)
    stop = threading.Event()

    def work(number: int) -> set[tuple[Any, Any, Any]]:
        seen: set[tuple[Any, Any, Any]] = set()
        while not stop.is_set():
            answer = asked.get_string_details("rate-display.copy", "default", EvaluationContext(f"u-{number}"))
            seen.add((answer.flag_metadata.get("phase"), answer.value, answer.error_code))
        return seen

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, number) for number in range(4)]
        for phase in range(2, 7):
            variants = [
                {"key": "control", "range": [0, 500_000], "payload": {"copy": f"control {phase}"}},
                {"key": "treatment", "range": [500_000, 1_000_000], "payload": {"copy": f"treatment {phase}"}},
            ]
            server.snapshot = snapshot(7 + phase, rate_display=rule(phase=phase, variants=variants))
            eventually(lambda version=7 + phase: provider._client.stats().snapshot_version == version)
        stop.set()
        seen = set().union(*(each.result() for each in running))
    expected = {(1, copy, None) for copy in COPIES}
    expected |= {(phase, f"{arm} {phase}", None) for phase in range(2, 7) for arm in ("control", "treatment")}
    assert seen <= expected
    assert len({phase for phase, _, _ in seen}) > 2


def test_the_example_of_the_page_runs(server: PlatformServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "openfeature.md").read_text(encoding="utf-8").split("## The Python provider")[1]
    code = page.split("```python\n")[1].split("```")[0].replace("http://localhost:8080", server.url)
    monkeypatch.setenv("ABP_SDK_KEY", KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result: dict[str, Any] = {}
    exec(code, result)
    assert result["copy"] in COPIES
    assert [event["unit_id"] for event in server.taken[EXPOSURES].values()] == ["u-1"]
    assert [event["value"] for event in server.taken[CONVERSIONS].values()] == ["350"]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "sdk", capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_the_client_alone_loads_no_openfeature() -> None:
    code = "import sys, abplatform_sdk; print(sorted(m for m in sys.modules if 'openfeature' in m or 'telemetry' in m))"
    assert run(code) == "[]\n"


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("openfeature", "openfeature", "abplatform-sdk[openfeature]"),
        ("opentelemetry", "opentelemetry", "abplatform-sdk[opentelemetry]"),
    ],
)
def test_without_the_package_the_extra_is_named(module: str, missing: str, extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import abplatform_sdk.{module}"
    assert f"pip install '{extra}'" in run(code).splitlines()[-1]
