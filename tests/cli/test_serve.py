"""``abplatform serve`` and ``worker`` as processes: they start, answer, seal and end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from abplatform.bootstrap import build_platform
from abplatform.cli.reservation import reserved_port
from abplatform.settings import Settings
from tests.builders import an_exposure_fact
from tests.cli.commands import COMMAND, ROOT, environment, run
from tests.cli.tables import a_platform, facts
from tests.databases import Databases
from tests.facts import keep

LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)\n")
ADMIN_KEY = re.compile(r"admin key \(shown this once\): (abp_admin_\S+)\n")


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A running server with its port and what it printed before it said so."""
    process = subprocess.Popen(
        [*COMMAND, "serve"],
        # Most are killed in the end, and leave what only they would have removed.
        env=environment(home, ABPLATFORM_PORT="0", ABPLATFORM_SEAL_INTERVAL="0.2", TMPDIR=str(home.parent), **settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    printed = ""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            printed += line
            if found := LISTENING.search(line):
                yield process, int(found.group(1)), printed
                break
        else:
            pytest.fail(f"the server ended before it listened: {printed}")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        process.stdout.close()


def get(port: int, path: str, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_serve_needs_no_other_command_and_prints_the_admin_key_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as (process, port, printed):
        assert get(port, "/healthz")[0] == 200
        found = ADMIN_KEY.search(printed)
        assert found
        assert get(port, "/api/v1/experiments", Authorization=f"Bearer {found.group(1)}")[0] == 200
        assert get(port, "/api/v1/experiments")[0] == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    with serving(home) as (_, port, printed):
        assert ADMIN_KEY.search(printed) is None
        assert "an admin key was made before; lost it? abplatform keys create --role admin --name me\n" in printed
        assert get(port, "/api/v1/experiments", Authorization=f"Bearer {found.group(1)}")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_within_seconds_though_a_client_stalls(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path / "home") as (process, port, _), socket.create_connection(("127.0.0.1", port)) as stalled:
        stalled.sendall(b"POST /api/v1/exposures HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        begun = time.monotonic()
        process.send_signal(number)
        process.wait(20)
        assert time.monotonic() - begun < 12
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_killed_serve_leaves_no_server_behind(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as (process, port, _):
        process.kill()
        process.wait(10)
        deadline = time.monotonic() + 15
        while _accepts(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _accepts(port)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_worker_inside_seals_what_waits(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home), build_platform(Settings(home=home)) as platform:
        fact = an_exposure_fact("waiting")
        keep(platform.inbox, "default", "exposure", [fact], [], received_at=fact.received_at)
        deadline = time.monotonic() + 30
        while not platform.lake.files("default", "exposure") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [row["event_id"] for row in facts(platform, "exposure")] == ["waiting"]


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(tmp_path / "home", "serve", ABPLATFORM_PORT=str(port))
    hint = "ABPLATFORM_PORT chooses another port, 0 a free one"
    assert done.returncode == 1
    assert done.stderr == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; {hint}\n"


def test_of_two_servers_that_start_at_once_on_one_port_one_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"ABPLATFORM_PORT": str(port), "ABPLATFORM_WORKERS": "1", "TMPDIR": str(tmp_path)}
    both = [
        subprocess.Popen(
            [*COMMAND, "serve"],
            env=environment(tmp_path / name, **settings),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    try:
        deadline = time.monotonic() + 30
        while all(each.poll() is None for each in both) and time.monotonic() < deadline:
            time.sleep(0.05)
        (refused,) = [each for each in both if each.poll() is not None]
        (served,) = [each for each in both if each is not refused]
        out, said = refused.communicate(timeout=10)
        assert (refused.returncode, out) == (1, "")
        assert said.startswith(f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; ")
        assert served.stdout is not None
        assert any(LISTENING.search(line) for line in served.stdout)
        served.send_signal(signal.SIGTERM)
        served.communicate(timeout=20)
        assert served.returncode == 0
    finally:
        for each in both:
            each.kill()
            each.communicate()


@pytest.mark.parametrize(
    ("first", "second"), [("127.0.0.1", "0.0.0.0"), ("::", "127.0.0.1"), ("localhost", "127.0.0.1")]
)
def test_a_port_is_reserved_for_all_addresses_that_would_share_it(first: str, second: str) -> None:
    with reserved_port(first, 0) as port:
        with (
            pytest.raises(click.ClickException, match=f"cannot listen on {second}:{port}"),
            reserved_port(second, port),
        ):
            pass
        with reserved_port("127.0.0.2", port if first == "127.0.0.1" else 0):
            pass
    with reserved_port(second, port) as free:
        assert free == port


def test_worker_seals_and_ends_on_sigterm(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_platform(home) as platform:
        fact = an_exposure_fact("waiting")
        keep(platform.inbox, "default", "exposure", [fact], [], received_at=fact.received_at)
        process = subprocess.Popen([*COMMAND, "worker"], env=environment(home), cwd=ROOT, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 60
            while not platform.lake.files("default", "exposure") and time.monotonic() < deadline:
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=15)
        finally:
            process.kill()
        assert process.returncode == 0
        assert [row["event_id"] for row in facts(platform, "exposure")] == ["waiting"]
    assert b'"event": "worker_stopped"' in said, "log lines are JSON where nobody watches"


def test_serve_refuses_an_outdated_schema_and_says_what_to_run(tmp_path: Path, databases: Databases) -> None:
    """On a database that is not the embedded one, SQLite or PostgreSQL."""
    url = databases.empty()
    settings = {
        "ABPLATFORM_DATABASE_URL": _plain(url),
        "ABPLATFORM_PSEUDONYM_KEY": "k" * 32,
        "ABPLATFORM_LAKE_URL": (tmp_path / "lake").as_uri(),
    }
    try:
        refused = run(tmp_path / "home", "serve", ABPLATFORM_PORT="0", **settings)
        assert refused.returncode == 1
        assert refused.stderr.startswith("Error: ")
        assert refused.stderr.endswith("; run: abplatform db upgrade\n")
        assert refused.stderr.count("\n") == 1
        assert "the schema of the database is at no revision, this version needs 0" in refused.stderr
        upgraded = run(tmp_path / "home", "db", "upgrade", **settings)
        assert upgraded.returncode == 0, upgraded.stderr
        with serving(tmp_path / "home", **settings) as (_, port, printed):
            assert "no worker runs in here; start: abplatform worker\n" in printed
            assert get(port, "/readyz")[0] == 200
    finally:
        databases.drop(url)


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")
