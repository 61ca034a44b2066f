"""The port of a server, reserved from the first look at it until the process ends.

The server processes share their port by `SO_REUSEPORT`, and so would those of a second `abplatform serve`: a look at
the port finds the first one only once its processes listen, seconds after its start.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

_NAME = "abplatform-serve"
_NAMES_IN_USE = Path("/proc/net/unix")
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared with, never bound


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Reserve the port itself if it is free, or a free one for 0.

    Raises:
        click.ClickException: if something listens there already, or another `abplatform serve` is about to.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(socket.AF_UNIX) as mark:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                address, free = probe.getsockname()[:2]
                _leave(mark, address, free)
            except OSError as error:
                hint = "; ABPLATFORM_PORT chooses another port, 0 a free one" if error.errno == errno.EADDRINUSE else ""
                raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from None
        yield int(free)


def _leave(mark: socket.socket, address: str, port: int) -> None:
    """Leave a name for the others that the system takes away with this process, however it ends.

    Raises:
        OSError: if another process has left one for the same place.
    """
    if sys.platform != "linux":
        return  # names without a file exist there alone; the look at the port has to do
    mark.bind(f"\0{_NAME}/{port}/{address}")
    others = _addresses_in_use(port) - {address}
    if others and (address in _EVERYWHERE or others & _EVERYWHERE):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _addresses_in_use(port: int) -> set[str]:
    prefix = f"@{_NAME}/{port}/"
    lines = _NAMES_IN_USE.read_text(encoding="ascii", errors="replace").splitlines()
    names = [line.rpartition(" ")[2] for line in lines]
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
