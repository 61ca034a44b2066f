"""The platform's real processes in one folder: started, killed, and asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from tests.cli.commands import COMMAND, ROOT, environment, run

START_SECONDS = 60
END_SECONDS = 60
# Both are ended by SIGKILL; "api" and "worker" are one process each.
_TICKS = os.sysconf("SC_CLK_TCK")
Part = Literal["api", "worker", "both"]


class Start(NamedTuple):
    """How long a start took: seconds on the clock, and of the processors in all its processes."""

    seconds: float
    cpu: float


class Installation:
    """One platform: ``abplatform serve``, which holds the worker on the embedded default; else a worker beside it.

    Args:
        home: its folder.
        database_url: another database than the one in the folder.
        extra: further environment variables of its processes.
        log: gets what they print.
    """

    def __init__(
        self, home: Path, *, log: Path, database_url: str = "", extra: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        self.embedded = not database_url
        self.port = _free_port()
        self.extra = dict(extra or {})
        self.settings = {
            "ABPLATFORM_PORT": str(self.port),
            "ABPLATFORM_SEAL_INTERVAL": "0.1",
            "PYTHONUNBUFFERED": "1",
        }
        if database_url:
            address = database_url.replace("postgresql+psycopg://", "postgresql://")
            self.settings |= {
                "ABPLATFORM_DATABASE_URL": address,
                "ABPLATFORM_PSEUDONYM_KEY": "a secret of the chaos, long enough",
                "ABPLATFORM_LAKE_URL": (home.absolute() / "lake").as_uri(),
            }
        self.log = log
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.key = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill("both")

    def make(self) -> None:
        """Make the database and an admin key."""
        if not self.embedded:
            self._command("db", "upgrade")
        self.key = self._command("keys", "create", "--role", "admin", "--name", "chaos", "--new").split()[0]

    def start(self) -> Start:
        """Start what does not run; returns when it is ready.

        Raises:
            RuntimeError: if it ends, or is not ready within `START_SECONDS`.
        """
        began = time.monotonic()
        for name in ("serve",) if self.embedded else ("serve", "worker"):
            if name not in self._processes:
                self.start_process(name, *COMMAND, name)
        while not self.ready():
            if not self.running("serve") or time.monotonic() > began + START_SECONDS:
                raise RuntimeError(f"the server did not start:\n{self._last_words()}")
            time.sleep(0.05)
        return Start(time.monotonic() - began, sum(map(_cpu_seconds, self._pids())))

    def start_process(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start one process of the platform, in a group of its own."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=environment(self.home, **self.settings) | self.extra,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name] = process
        return process

    def kill(self, part: Part) -> int:
        """End a part by SIGKILL. Returns when what cannot live without it has ended, or is replaced.

        Returns:
            How many of its processes were running until then.

        Raises:
            RuntimeError: if one of them lives on.
        """
        condemned = self._running_pids_of(part)
        if part == "api":
            for process in condemned:
                os.kill(process, signal.SIGKILL)
            while self.running("serve") and not self.ready():
                time.sleep(0.02)
            if not self.running("serve"):
                self._end_group("serve")
        elif part == "worker" and self.embedded:
            # The worker's process is also the one that started the API, which ends when it misses it.
            self._processes["serve"].kill()
            self._await_end("serve")
        elif part == "worker":
            self._end_group("worker")
        else:
            for name in list(self._processes):
                self._end_group(name)
        self._await_silence()
        if alive := [pid for pid in condemned if _is_alive(pid)]:
            raise RuntimeError(f"processes {alive} of {part} outlived SIGKILL")
        return len(condemned)

    def _running_pids_of(self, part: Part) -> list[int]:
        # Linux may leave out children of a process whose threads come and go while it is asked.
        patience = time.monotonic() + 5
        while not (found := [pid for pid in self._pids_of(part) if _is_alive(pid)]) and time.monotonic() < patience:
            time.sleep(0.01)
        return found

    def _pids_of(self, part: Part) -> list[int]:
        """Processes that are ended by us; others end with them."""
        if part == "api":
            return _api_processes(self._processes["serve"].pid)
        if part == "worker":
            return [self._processes["serve" if self.embedded else "worker"].pid]
        return [process.pid for process in self._processes.values()]

    def stop(self) -> None:
        """End all by SIGTERM, as a service manager does."""
        for process in self._processes.values():
            process.terminate()
        for name in list(self._processes):
            self._await_end(name)

    def has(self, name: str) -> bool:
        """Whether a process was started and not ended by us."""
        return name in self._processes

    def running(self, name: str) -> bool:
        """Whether a process has not ended yet."""
        return self._processes[name].poll() is None

    def ready(self) -> bool:
        """Whether it answers, and its database too."""
        return self.ask("GET", "/readyz", timeout=2)[0] == 200

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = 60) -> tuple[int, Any]:
        """One request; status 0 where there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the API that must succeed.

        Raises:
            RuntimeError: if it does not.
        """
        status, answer = self.ask(method, f"/api/v1{path}", body)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}\n{self._last_words()}")
        return answer

    def _command(self, *arguments: str) -> str:
        done = run(self.home, *arguments, **{**self.settings, **self.extra})
        if done.returncode:
            raise RuntimeError(f"abplatform {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def _pids(self) -> list[int]:
        return [each for process in self._processes.values() for each in _with_descendants(process.pid)]

    def _await_end(self, name: str) -> None:
        process = self._processes[name]
        try:
            process.wait(END_SECONDS)
        finally:
            self._end_group(name)

    def _end_group(self, name: str) -> None:
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def _await_silence(self) -> None:
        if "serve" in self._processes:
            return
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass  # It was there a moment ago.
            time.sleep(0.01)
        raise RuntimeError("something still listens")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_alive(pid: int) -> bool:
    """Whether it runs; one that ended and was not yet asked for its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def _api_processes(serve: int) -> list[int]:
    """The children that answer requests: another one only tracks resources."""
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in _children(serve)}
    return [child for child, command in commands.items() if b"spawn_main" in command]


def _children(pid: int) -> list[int]:
    try:
        return [
            int(each)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for each in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _with_descendants(pid: int) -> list[int]:
    return [pid, *(each for child in _children(pid) for each in _with_descendants(child))]
