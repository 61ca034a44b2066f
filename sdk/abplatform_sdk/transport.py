"""HTTP to one server. Imported lazily: urllib3 costs more than the rest of the package together."""

from __future__ import annotations

import encodings.idna  # noqa: F401 (name resolution imports it on first use: see process.importing)
import gzip
import http.client
import io
import platform
import socket
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
# A server that sends a byte now and then never runs into the read timeout; so many of them bound a response.
_READ_TIMEOUTS_PER_RESPONSE = 4


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

    def post(self, path: str, body: bytes, *, most_bytes: int, budget: float | None = None) -> Reply:
        """Send JSON, packed if that pays, as `get`; ``budget`` shortens the timeouts to so many seconds."""
        headers = {"Content-Type": "application/json"}
        if len(body) >= _GZIP_FROM:
            body = gzip.compress(body, compresslevel=3)
            headers["Content-Encoding"] = "gzip"
        return self._request("POST", path, headers, body=body, most_bytes=most_bytes, budget=budget)

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
        budget: float | None = None,
    ) -> Reply:
        connect, read = (limit if budget is None else min(limit, budget) for limit in self._timeouts)
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
    """The connection class of urllib3, with responses that must end in time."""
    return type("BoundedConnection", (connection,), {"response_class": _BoundedResponse})


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self._reader = _DeadlineReader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        self._reader.in_head = False


class _DeadlineReader(io.RawIOBase):
    """Bytes from a socket until a moment that later bytes do not move; not many of them before the body."""

    in_head = True

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._size = 0
        self._patience = sock.gettimeout() or _LONGEST_RETRY_AFTER
        self._deadline = time.monotonic() + _READ_TIMEOUTS_PER_RESPONSE * self._patience

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the response took too long")
        self._sock.settimeout(min(remaining, self._patience))
        size = self._raw.readinto(buffer)
        self._size += size or 0
        # Interim answers without end would keep this thread busy, and so slow down the product's.
        if self.in_head and self._size > _LARGEST_HEAD:
            raise OSError("the head of the response is too long")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
