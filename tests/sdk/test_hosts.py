"""The client inside real servers: made before they fork, right in every process, finished when they stop."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from abplatform_sdk import Client

from tests.sdk.hosted import BIN, Host, hosting
from tests.sdk.server import CONVERSIONS, EXPOSURES, PlatformServer
from tests.sdk.snapshots import rule, snapshot


def find_free_port() -> int:
    """A port for a server that cannot take any free one by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


GUNICORN = [
    str(BIN / "gunicorn"),
    *("--bind", "127.0.0.1:0", "--workers", "2", "--graceful-timeout", "10"),
    "tests.sdk.hosted:application",
]
UWSGI = [
    str(BIN / "uwsgi"),
    *("--http-socket", "127.0.0.1:0", "--master", "--processes", "2", "--enable-threads", "--need-app"),
    # Else uWSGI ends a worker that is still busy with its last request on the spot, without exit handlers.
    *("--hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
    *("--module", "tests.sdk.hosted:application"),
]
GRANIAN = [
    str(BIN / "granian"),
    *("--interface", "asgi", "--host", "127.0.0.1", "--port", str(find_free_port()), "--workers", "2"),
    "tests.sdk.hosted:asgi_application",
]
UNITS = [f"u-{number}" for number in range(200)]


def check_decisions(host: Host, server: PlatformServer) -> None:
    """All processes decide as an evaluator outside does."""
    evaluator = Client.from_snapshot(server.snapshot)
    expected = [evaluator.evaluate("rate-display", unit).variant for unit in UNITS]
    evaluator.close(0)
    assert [answer["variant"] for answer in host.ask_all(UNITS)] == expected


def check_events(server: PlatformServer, path: str) -> None:
    """One event of each unit arrived, and each once; `again-*` aside, which several processes were asked about."""
    sent = [event for request in server.sent(path) for event in request.events]
    assert len({event["event_id"] for event in sent}) == len(sent), "an event was sent twice"
    once = [event["unit_id"] for event in sent if event["unit_id"] in UNITS]
    assert sorted(once) == sorted(UNITS)


@pytest.mark.parametrize(
    "command",
    [
        [*GUNICORN, "--preload"],
        [*GUNICORN, "--threads", "4"],
        UWSGI,
        [*UWSGI, "--lazy-apps", "--threads", "2"],
        GRANIAN,
    ],
    ids=["gunicorn-preload", "gunicorn-threads", "uwsgi", "uwsgi-lazy-threads", "granian-asgi"],
)
def test_a_server_of_two_processes_decides_exposes_updates_and_flushes(
    server: PlatformServer, command: list[str]
) -> None:
    with hosting(command, server.url) as host:
        pids = host.find_processes(2)
        check_decisions(host, server)
        assert server.sent(EXPOSURES) == server.sent(CONVERSIONS) == []
        server.snapshot = snapshot(8, rate_display=rule(shipped="treatment"))
        assert host.find_processes(2, version=8) == pids
        assert host.stop() == 0, "".join(host.printed)
    check_events(server, EXPOSURES)
    check_events(server, CONVERSIONS)


@pytest.mark.parametrize(
    "command",
    [[*GUNICORN, "--preload"], UWSGI, [*UWSGI, "--py-call-uwsgi-fork-hooks"]],
    ids=["gunicorn-preload", "uwsgi", "uwsgi-with-hooks"],
)
def test_what_the_master_did_before_the_fork_is_not_repeated_by_its_workers(
    server: PlatformServer, command: list[str], eventually: Callable[..., None]
) -> None:
    # The snapshot thread of the master sleeps while it forks: uWSGI forks without Python's knowledge.
    with hosting(command, server.url, HOSTED_WARM="1", HOSTED_POLL_INTERVAL="3600", HOSTED_FLUSH_INTERVAL="1") as host:
        assert len(host.find_processes(2)) == 2
        check_decisions(host, server)
        eventually(lambda: "boot" in str([request.body for request in server.sent(CONVERSIONS)]))
        assert host.stop() == 0, "".join(host.printed)
    check_events(server, EXPOSURES)
    check_events(server, CONVERSIONS)
    sent = [event for request in server.sent(CONVERSIONS) for event in request.events]
    assert [event["unit_id"] for event in sent if event["event"] == "boot"] == ["master"]
