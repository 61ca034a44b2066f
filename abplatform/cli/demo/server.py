"""The real server in a process of its own, and calls to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from abplatform.settings import Settings

_START_SECONDS = 60
_STOP_SECONDS = 15
_ADDRESS = re.compile(r"listening on (http://\S+)")
_ADMIN_KEY = re.compile(r"admin key \(shown this once\): (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        log: what it says.
        admin_key: the project's first one, where this start has made it.
    """

    url: str
    log: Path
    admin_key: str | None

    def call(self, method: str, path: str, body: object = None, *, api_key: str) -> Any:
        """Call the API and give the answer's document.

        Raises:
            click.ClickException: with what the server says against it, or that it is gone.
        """
        import urllib3

        try:
            response = urllib3.request(
                method,
                f"{self.url}/api/v1{path}",
                body=None if body is None else json.dumps(body),
                headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
                timeout=60.0,
                retries=False,
            )
        except urllib3.exceptions.HTTPError:
            raise click.ClickException(f"the demo's server does not answer any more; see its log: {self.log}") from None
        document = json.loads(response.data) if response.data else None
        if response.status >= 400:
            raise click.ClickException(f"{method} {path}: {response.status} {document}")
        return document


@contextmanager
def running_server(settings: Settings) -> Iterator[Server]:
    """Start ``abplatform serve`` on a free port of this machine, and stop it at the end.

    Raises:
        click.ClickException: if it does not answer; names its log.
    """
    environment = {
        **os.environ,
        **{name: value for name, value in settings.as_environment().items() if value},
        "ABPLATFORM_HOST": "127.0.0.1",
        "ABPLATFORM_PORT": "0",
    }
    log = settings.home.absolute() / "demo-server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "abplatform.cli", "serve"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield _wait(process, log)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[str], log: Path) -> Server:
    said: list[str] = []
    answers = threading.Event()

    def listen() -> None:
        for line in process.stdout or ():
            said.append(line)
            if _ADDRESS.search(line):
                answers.set()
        answers.set()

    threading.Thread(target=listen, daemon=True).start()
    answers.wait(_START_SECONDS)
    text = "".join(said)
    address, key = _ADDRESS.search(text), _ADMIN_KEY.search(text)
    if address is None:
        raise click.ClickException(f"the demo's server did not start; see its log: {log}")
    return Server(url=address.group(1), log=log, admin_key=key.group(1) if key else None)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
