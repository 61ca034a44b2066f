"""HTTP to one server. Imported lazily: urllib3 costs more than the rest of the package together."""

from __future__ import annotations

import encodings.idna  # noqa: F401 (name resolution imports it on first use: see process.importing)
import gzip
import http.client
import io
import math
import platform
import socket
import ssl
import threading
import time
from base64 import b64encode
from email.utils import parsedate_to_datetime
from queue import LifoQueue
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util import Timeout

from . import __version__
from .config import Config
from .reply import Reply, TransportError

_LONGEST_RETRY_AFTER = 60.0
_READ_SIZE = 64 * 1024
_GZIP_FROM = 1024
_LARGEST_HEAD = 64 * 1024
_SEND_SIZE = 16 * 1024
# A server that sends a byte now and then never runs into the read timeout; so many of them bound a request.
_READ_TIMEOUTS_PER_REQUEST = 4


class _Deadline(threading.local):
    """When the request of this thread must be over (monotonic clock): no wait on its way lasts longer."""

    at = 0.0

    def bound(self, patience: float) -> float:
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        return min(left, patience)


_deadline = _Deadline()


class Transport:
    """Requests to one host, never to another: redirects are answers, so the key cannot follow one."""

    def __init__(self, config: Config) -> None:
        self._timeouts = (config.connect_timeout, config.read_timeout)
        self._headers = {
            "Authorization": f"Bearer {config.api_key}",
            "User-Agent": f"abplatform-sdk/{__version__} python/{platform.python_version()}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._pool = _pool_manager(config).connection_from_url(config.base_url)
        self._pool.ConnectionCls = _bounded(self._pool.ConnectionCls)
        server = urllib3.util.parse_url(config.base_url)
        # A proxy is told the whole address, unless it is a tunnel.
        is_forwarded = config.proxy is not None and server.scheme == "http"
        self._prefix = server.url if is_forwarded else server.path or ""

    def get(self, path: str, *, etag: str | None, most_bytes: int) -> Reply:
        """Read ``path``; with ``etag``, only if it changed. `TransportError` if there is no usable answer."""
        headers = {"If-None-Match": etag} if etag is not None else {}
        return self._request("GET", path, headers, body=None, most_bytes=most_bytes)

    def post(self, path: str, body: bytes, *, most_bytes: int, deadline: float = math.inf) -> Reply:
        """Send JSON, packed if that pays, as `get`; over at ``deadline`` (monotonic clock) at the latest."""
        headers = {"Content-Type": "application/json"}
        if len(body) >= _GZIP_FROM:
            body = gzip.compress(body, compresslevel=3)
            headers["Content-Encoding"] = "gzip"
        return self._request("POST", path, headers, body=body, most_bytes=most_bytes, deadline=deadline)

    def close(self) -> None:
        """Close the idle connections; busy ones close when their response ends."""
        self._pool.close()

    def renew(self) -> None:
        """Free the pool of a lock that a thread of the parent held at the fork: the end of the process asks for it."""
        if (pool := self._pool.pool) is not None:
            kept = pool.queue
            LifoQueue.__init__(pool, pool.maxsize)
            pool.queue = kept  # the parent's connections are closed with the pool

    def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        *,
        body: bytes | None,
        most_bytes: int,
        deadline: float = math.inf,
    ) -> Reply:
        connect, read = self._timeouts
        _deadline.at = min(deadline, time.monotonic() + connect + _READ_TIMEOUTS_PER_REQUEST * read)
        try:
            response = self._pool.urlopen(
                method,
                f"{self._prefix}/api/v1{path}",
                body=body,
                headers=self._headers | headers,
                retries=False,  # the callers retry, and know what may be sent twice
                redirect=False,
                assert_same_host=False,  # the address is ours; through a proxy, the pool's host is that of the proxy
                timeout=Timeout(connect=connect, read=read),
                preload_content=False,
                decode_content=False,
            )
            try:
                content = _read(response, most_bytes)
            except BaseException:
                response.close()
                raise
            return Reply(
                status=response.status,
                body=content,
                etag=response.headers.get("ETag"),
                retry_after=_retry_after(response.headers.get("Retry-After")),
            )
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise TransportError(f"{method} {path}: {error!r}"[:300]) from error


def _pool_manager(config: Config) -> urllib3.PoolManager:
    options: dict[str, Any] = {
        "maxsize": 3,
        "ca_certs": config.ca_file,
        "cert_file": config.client_certificate,
        "key_file": config.client_certificate,
    }
    if config.proxy is None:
        return urllib3.PoolManager(**options)
    parts = urlsplit(config.proxy)
    credentials, _, host = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    secret = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    # Apart from the address, which shows in errors and in the log of urllib3.
    headers = {"Proxy-Authorization": f"Basic {secret}"} if credentials else {}
    return urllib3.ProxyManager(f"{parts.scheme}://{host}", proxy_headers=headers, **options)


def _read(response: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes:
    """The whole body, as it comes: content encodings were not asked for and are not unpacked."""
    chunks = []
    size = 0
    while chunk := response.read(_READ_SIZE):
        size += len(chunk)
        if size > most_bytes:
            raise ValueError("response too large")
        chunks.append(chunk)
    response.release_conn()
    return b"".join(chunks)


def _retry_after(header: str | None) -> float:
    """Seconds to wait, 0 to 60, from a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return 0.0
    try:
        if header.strip().isdecimal():
            seconds = float(header)
        else:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _bounded(connection: Any) -> Any:
    """The connection class of urllib3, with waits that end in time."""

    class Bounded(connection):  # type: ignore[misc]
        response_class = _BoundedResponse
        timeout: float

        def _new_conn(self) -> Any:
            self.timeout = _deadline.bound(self.timeout)
            sock = super()._new_conn()
            sock.settimeout(_deadline.bound(self.timeout))
            return sock

        def _connect_tls_proxy(self, hostname: str, sock: Any) -> Any:
            proxy = super()._connect_tls_proxy(hostname, sock)
            proxy.__class__ = _ProxySocket
            return proxy

        def _tunnel(self) -> None:
            super()._tunnel()
            self.sock.settimeout(_deadline.bound(self.timeout))

        def send(self, data: bytes) -> None:
            if self.sock is None:
                self.connect()
            # In pieces: TLS begins the time anew for each record.
            for start in range(0, len(data), _SEND_SIZE):
                self.sock.settimeout(_deadline.bound(self.timeout))
                super().send(data[start : start + _SEND_SIZE])

    return Bounded


class _ProxySocket(ssl.SSLSocket):
    """In a tunnel through an https proxy urllib3 waits as often as one record inside needs it."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self.settimeout(_deadline.bound(self.gettimeout() or _LONGEST_RETRY_AFTER))
        return super().recv(buflen, flags)


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self._reader = _BoundedReader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._reader)

    def read(self, amt: int | None = None) -> bytes:
        self._reader.room = _READ_SIZE + _LARGEST_HEAD
        return super().read(amt)


class _BoundedReader(io.RawIOBase):
    """Bytes from a socket, not many for the head and for each piece of the body.

    Else interim answers, tiny chunks or trailers without end would keep this thread busy, and so slow down the
    product's.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self.room = _LARGEST_HEAD
        self._raw = raw
        self._sock = sock
        self._patience = sock.gettimeout() or _LONGEST_RETRY_AFTER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_deadline.bound(self._patience))
        size = self._raw.readinto(buffer)
        self.room -= size or 0
        if self.room < 0:
            raise OSError("the response has too much around its body")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
