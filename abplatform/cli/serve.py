"""``abplatform serve``."""

from __future__ import annotations

import gc
import http.client
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import wait
from types import ModuleType
from typing import TYPE_CHECKING

import click

from abplatform.cli.invocation import program
from abplatform.cli.reservation import reserved_port
from abplatform.cli.session import log_to_stderr, open_platform, usable_settings
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.settings import Settings

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform

_APPLICATION = "abplatform.wsgi:app"
_STOP_SECONDS = 5
_LATER = 10
_MOST_REQUESTS = 1024
_MOST_WAITING = 4096
NEW_ADMIN_KEY = "{program} keys create --role admin --name me"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - names an address, binds none


@click.command("serve")
def command() -> None:
    """Run the HTTP API on ABPLATFORM_HOST and ABPLATFORM_PORT until stopped (SIGTERM or Ctrl-C).

    On the embedded default it needs no other command before it: it creates the database, prints an admin key at the
    first start, and runs the worker inside. Beside PostgreSQL run `abplatform worker` in a process of its own.
    """
    log_to_stderr()
    settings = usable_settings()
    with reserved_port(settings.host, settings.port) as port:
        _load("abplatform.bootstrap")
        with open_platform(settings) as platform:
            _print_first_key(platform)
            with _numbers_together(), _worker_inside(platform) if settings.embedded else _no_worker():
                _serve(replace(settings, port=port))


def _print_first_key(platform: Platform) -> None:
    from abplatform.services.access import ensure_admin_key

    with platform.uow.begin() as work:
        secret = ensure_admin_key(work, DEFAULT_PROJECT, now=platform.now())
    if secret is None:
        click.echo(f"an admin key was made before; lost it? {NEW_ADMIN_KEY.format(program=program())}")
    else:
        click.echo(f"admin key (shown this once): {secret}")


@contextmanager
def _worker_inside(platform: Platform) -> Iterator[None]:
    """Seal in a thread of this process for as long as the server runs, and once more when it has stopped."""
    stop = threading.Event()

    def work() -> None:
        _give_way()
        platform.work(stop=stop)

    worker = threading.Thread(target=work, name="abplatform-worker")
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def _give_way() -> None:
    """Let requests go before this thread, and the threads that it starts, where both want the processors."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LATER)


@contextmanager
def _numbers_together() -> Iterator[None]:
    """Let the server processes keep what they count in one folder, so that each can tell the numbers of all."""
    from abplatform.warehouse.scratch import ScratchFolder

    with ScratchFolder("metrics") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


@contextmanager
def _no_worker() -> Iterator[None]:
    click.echo(f"no worker runs in here; start: {program()} worker")
    yield


def _serve(settings: Settings) -> None:
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    # Not fork: this process has threads and an open database.
    multiprocessing.set_start_method("spawn", force=True)
    threading.Thread(target=_announce, args=(settings.host, settings.port), daemon=True).start()
    Granian(
        _APPLICATION,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        websockets=False,
        # An upload that stalls holds a thread: there have to be more threads than such uploads.
        backlog=_MOST_WAITING,
        backpressure=_MOST_REQUESTS,
        blocking_threads=_MOST_REQUESTS,
        # Its warnings are about the number of threads, which is meant.
        log_level=LogLevels.error,
        # A stalled request must not keep the server from stopping.
        workers_kill_timeout=_STOP_SECONDS,
        # One that dies is replaced; a lone one that dies at once would be started for ever.
        respawn_failed_workers=settings.workers > 1,
    ).serve(target_loader=load_application)


def load_application(target: str) -> Callable[..., object]:
    """The application of a server process, which ends when the process that started it is gone.

    Without that, a killed `abplatform serve` would leave a server behind that nobody knows of.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), name="abplatform-parent", daemon=True).start()
    module, _, name = target.partition(":")
    application: Callable[..., object] = getattr(_load(module), name)
    return application


def _load(module: str) -> ModuleType:
    """Import a module with all that it needs. It stays: to look for garbage in it would take a quarter of the time."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_SECONDS)
    os._exit(1)


def _announce(host: str, port: int) -> None:
    """Say where the server is as soon as it answers."""
    reachable = _EVERYWHERE.get(host, host)
    while not _answers(reachable, port):
        time.sleep(0.05)
    shown = f"[{reachable}]" if ":" in reachable else reachable
    click.echo(f"listening on http://{shown}:{port}")


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
