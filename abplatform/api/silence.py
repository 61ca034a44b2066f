"""Connections on which an upload has gone silent are closed: nothing else would end the read that waits for the rest.

The server waits for a body without end, and holds a thread for it. It does not tell which connection a request came on
either. What the system knows of each connection (Linux does) is how long nothing has come on it, and from where it is.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SILENT_SECONDS = 30.0
VISIT = "abplatform.visit"
"""Where the environment of a request has its `Visit`."""

_log = logging.getLogger(__name__)

_DESCRIPTORS = Path("/proc/self/fd")
_TCP_INFO_BYTES = 104
# tcpi_last_data_recv of Linux' struct tcp_info, in milliseconds.
_LAST_RECEIVED = struct.Struct("=52xI")


@dataclass(slots=True, eq=False)
class Visit:
    """A request that is under way.

    Attributes:
        remote: address that it came from.
        since: when it began, or began or ended to read its body, by a clock that never goes back.
        is_reading: whether it waits for its body.
    """

    remote: str
    since: float
    is_reading: bool = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read the body."""
        self.is_reading, self.since = True, time.monotonic()
        try:
            yield
        finally:
            self.is_reading, self.since = False, time.monotonic()


class Visits:
    """The requests that are under way; one per app. A thread of its own watches over them while there are any."""

    def __init__(self) -> None:
        self._under_way: dict[int, Visit] = {}
        self._watch = threading.Lock()

    def begin(self, environ: dict[str, Any]) -> None:
        """A request has come."""
        visit = Visit(_plain(environ.get("REMOTE_ADDR", "")), time.monotonic())
        self._under_way[id(visit)] = environ[VISIT] = visit
        if sys.platform == "linux" and self._watch.acquire(blocking=False):
            try:
                threading.Thread(target=self._run, name="abplatform-silence", daemon=True).start()
            except RuntimeError:  # there are too many: the next request tries again
                self._watch.release()

    def end(self, environ: dict[str, Any]) -> None:
        """It has been answered."""
        del self._under_way[id(environ[VISIT])]

    def find_silent(self, now: float) -> set[str]:
        """The addresses whose silent connections are those of uploads, or of nothing that is under way."""
        old = [visit for visit in list(self._under_way.values()) if now - visit.since >= SILENT_SECONDS]
        waiting = {visit.remote for visit in old if visit.is_reading}
        # What takes long to answer is silent, too. It ends by itself.
        return waiting - {visit.remote for visit in old if not visit.is_reading}

    def _run(self) -> None:
        """Watch for as long as there is something to watch."""
        with ExitStack() as spare:
            while True:
                # To look at connections takes a descriptor, and silent ones may take all others.
                _keep_one(spare)
                time.sleep(SILENT_SECONDS / 10)
                remotes = self.find_silent(time.monotonic())
                if remotes:
                    spare.close()
                    _hang_up_logged(remotes)
                if not self._under_way:
                    self._watch.release()
                    # A request that has come in between found the watch taken.
                    if not self._under_way or not self._watch.acquire(blocking=False):
                        return


def _plain(address: str) -> str:
    """An address of IPv4 as such, also where a socket of IPv6 has taken the connection."""
    return address.removeprefix("::ffff:")


def _keep_one(spare: ExitStack) -> None:
    spare.close()
    with suppress(OSError):
        spare.callback(os.close, os.open(os.devnull, os.O_RDONLY))


def _hang_up_logged(remotes: set[str]) -> None:
    try:
        hang_up(remotes)
    except OSError:
        _log.warning("could not look for silent connections", exc_info=True)


def hang_up(remotes: set[str]) -> None:
    """End the reading side of the connections of this process from some addresses on which nothing has come for long.

    Those that wait for their next request are among them: a server may close them at any time.
    """
    ports = {each.getsockname()[1] for each in _sockets() if _listens(each)}
    for each in _sockets():
        with suppress(OSError):  # it has been closed meanwhile
            mine = not _listens(each) and each.getsockname()[1] in ports
            if mine and _plain(each.getpeername()[0]) in remotes and _is_silent(each):
                each.shutdown(socket.SHUT_RD)


def _sockets() -> Iterator[socket.socket]:
    """The TCP sockets of this process, one after the other.

    Under their own descriptors, and never closed here: to close a copy of one that is a file of SQLite, say, would give
    up all locks that this process has on it.
    """
    for descriptor in [int(each.name) for each in _DESCRIPTORS.iterdir()]:
        with suppress(OSError):  # it has been closed meanwhile, or is no socket
            found = socket.socket(fileno=descriptor)
            try:
                if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
                    yield found
            finally:
                found.detach()


def _listens(one: socket.socket) -> bool:
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _is_silent(one: socket.socket) -> bool:
    (milliseconds,) = _LAST_RECEIVED.unpack_from(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES))
    return bool(milliseconds >= SILENT_SECONDS * 1000)
