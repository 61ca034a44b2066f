"""The real server as its users start it, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

START_SECONDS = 60
ADDRESS = re.compile(r"(http://[\d.]+:\d+)")
COMMAND = (sys.executable, "-c", "from abplatform.cli import main; main()")


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The process's environment with the settings of one home folder and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ABPLATFORM_")}
    return inherited | {"ABPLATFORM_HOME": str(home), "ABPLATFORM_PORT": "0", "PYTHONUNBUFFERED": "1"} | settings


def run_command(home: Path, *arguments: str, **settings: str) -> str:
    """Run one ``abplatform`` command to its end and give what it printed."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(home, **{"ABPLATFORM_WORKERS": "1"} | settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Server:
    """A running server and a key of each role that a test asked for."""

    url: str
    home: Path
    process: subprocess.Popen[str]
    settings: Mapping[str, str]
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=8))
    _keys: dict[str, str] = field(default_factory=dict)

    def key(self, role: str) -> str:
        if role not in self._keys:
            printed = run_command(
                self.home, "keys", "create", "--role", role, "--name", f"test {role}", **self.settings
            )
            found = re.search(rf"abp_{role}_\S+", printed)
            assert found, printed
            self._keys[role] = found.group()
        return self._keys[role]

    def call(self, method: str, path: str, body: Any = None, *, role: str = "admin", **headers: str) -> Any:
        response = self.http.request(
            method,
            f"{self.url}/api/v1{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key(role)}", "Content-Type": "application/json", **headers},
            timeout=60,
        )
        document = json.loads(response.data) if response.data else None
        assert response.status < 400, (method, path, response.status, document)
        return document


@contextmanager
def serving(home: Path, **settings: str) -> Iterator[Server]:
    """Start ``abplatform serve`` on a free port, wait until it accepts, stop it at the end."""
    process = subprocess.Popen(
        [*COMMAND, "serve"],
        env=environment(home, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    printed: list[str] = []
    try:
        server = Server(url=_wait_for_address(process, printed), home=home, process=process, settings=settings)
        yield server
        server.http.clear()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(15)
        assert process.stdout is not None
        process.stdout.close()


def _wait_for_address(process: subprocess.Popen[str], printed: list[str]) -> str:
    found = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                printed.append(line)
                if ADDRESS.search(line):
                    found.set()
        except ValueError:
            return  # closed at the end of the test

    threading.Thread(target=read, daemon=True).start()
    assert found.wait(START_SECONDS), "".join(printed)
    url = next(match.group(1) for line in printed if (match := ADDRESS.search(line)))
    with urllib3.PoolManager() as http:
        for _ in range(200):
            try:
                if http.request("GET", f"{url}/readyz", retries=False, timeout=2).status == 200:
                    return url
            except urllib3.exceptions.HTTPError:
                pass
            threading.Event().wait(0.1)
    raise AssertionError("".join(printed))
