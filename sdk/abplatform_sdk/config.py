"""What a client can be told, checked once at construction."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self, TypedDict, Unpack
from urllib.parse import SplitResult, urlsplit

from .process import importing

_LONGEST_WAIT = 86_400

FilePath = str | os.PathLike[str]


class Options(TypedDict, total=False):
    """Keyword options of `Client`; `Config` says what each one means."""

    poll_interval: float
    flush_interval: float
    batch_size: int
    max_queue: int
    connect_timeout: float
    read_timeout: float
    close_timeout: float
    cache_dir: FilePath | None
    proxy: str | None
    ca_file: FilePath | None
    client_certificate: FilePath | None


def default_cache_dir() -> Path | None:
    """The user's cache directory for this package, or None where the user has no home."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if root and Path(root).is_absolute():
        return Path(root, "abplatform")
    try:
        return Path.home() / ".cache" / "abplatform"
    except RuntimeError:
        return None


class _Settings(NamedTuple):
    base_url: str
    api_key: str
    poll_interval: float = 10.0
    flush_interval: float = 1.0
    batch_size: int = 500
    max_queue: int = 10_000
    connect_timeout: float = 2.0
    read_timeout: float = 5.0
    close_timeout: float = 3.0
    cache_dir: FilePath | None = None
    proxy: str | None = None
    ca_file: FilePath | None = None
    client_certificate: FilePath | None = None


# A dataclass would load `inspect` and what it needs, a tenth of the time that importing this package takes.
class Config(_Settings):
    """Settings of one client. Times are seconds.

    Attributes:
        base_url: where the platform answers, such as ``https://ab.example.com``; may hold a path prefix.
        api_key: a key of the role ``sdk``; never shown in ``repr``, ``_asdict``, logs or file names.
        poll_interval: time between two looks for a newer snapshot, 0.05 to 3600.
        flush_interval: longest time that an event waits for company before it is sent, 0.01 to 60.
        batch_size: most events in one request, 100 to 1000.
        max_queue: most events of a kind that wait for the server, 1 to 1,000,000; more are dropped.
        connect_timeout: longest wait for a connection, above 0, at most 60.
        read_timeout: longest silence of the server within one response, above 0, at most 60.
        close_timeout: how long `Client.close`, and so the end of the interpreter, may take; 0 to 60.
        cache_dir: directory of the disk copy of the last good snapshot; None keeps nothing on disk.
        proxy: http or https URL of a proxy, may hold credentials; never shown either. None uses no proxy: the
            environment is not asked.
        ca_file: PEM file of the only certificates to trust, for the platform and an https proxy; None are the system's.
        client_certificate: PEM file of a certificate and its key, for the platform.

    Raises:
        ValueError: an option is out of its range; the message names it.
    """

    __slots__ = ()

    def __new__(cls, *, base_url: str, api_key: str, **options: Unpack[Options]) -> Self:
        for name in options.keys() - Options.__annotations__.keys():
            raise TypeError(f"{name} is no option of the client")
        if "cache_dir" not in options:
            options["cache_dir"] = default_cache_dir()
        # The process may change its directory before the first connection.
        options["ca_file"] = _absolute(options.get("ca_file"))
        options["client_certificate"] = _absolute(options.get("client_certificate"))
        config = super().__new__(cls, _checked_url(base_url), api_key, **options)
        config._check()
        return config

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Config holds secrets and cannot be pickled or copied")

    def _asdict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields if name not in {"api_key", "proxy"}}

    def _replace(self, **changes: Any) -> Self:
        return type(self)(**dict(zip(self._fields, self, strict=True)) | changes)

    def _check(self) -> None:
        _check_key(self.api_key)
        _check_seconds("poll_interval", self.poll_interval, 0.05, 3600)
        _check_seconds("flush_interval", self.flush_interval, 0.01, 60)
        _check_seconds("connect_timeout", self.connect_timeout, 0.001, 60)
        _check_seconds("read_timeout", self.read_timeout, 0.001, 60)
        _check_seconds("close_timeout", self.close_timeout, 0, 60)
        _check_count("batch_size", self.batch_size, 100, 1000)
        _check_count("max_queue", self.max_queue, 1, 1_000_000)
        if self.cache_dir is not None and not isinstance(self.cache_dir, (str, os.PathLike)):
            raise ValueError("cache_dir must be a path or None")
        _check_proxy(self.proxy)
        if self.client_certificate is not None and not self.base_url.lower().startswith("https:"):
            raise ValueError("client_certificate needs an https base_url")
        if self.ca_file is not None or self.client_certificate is not None:
            _check_certificates(self.ca_file, self.client_certificate)


def bounded(timeout: object, default: float) -> float:
    """Seconds to wait as a call was told, 0 to a day; ``default`` for what is no number."""
    try:
        if isinstance(timeout, (int, float)) and not math.isnan(timeout):
            return float(min(max(timeout, 0.0), _LONGEST_WAIT))
    except Exception:  # noqa: BLE001 (an argument is the product's own object)
        return default
    return default


def _checked_url(url: object) -> str:
    parts = _split_url("base_url", url)
    if parts.path.rstrip("/").endswith("/api/v1"):
        raise ValueError("base_url must be the address without /api/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("base_url must have no user, query or fragment")
    return str(url).rstrip("/?#")


def _check_proxy(url: object) -> None:
    if url is not None:
        parts = _split_url("proxy", url)
        if parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise ValueError("proxy must have no path, query or fragment; write / ? # in a password as %2F %3F %23")


def _split_url(name: str, url: object) -> SplitResult:
    """No message repeats the URL, which may hold a password."""
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise ValueError(f"{name} must be a URL such as https://ab.example.com")
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        port_is_valid = False
    if not port_is_valid or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{name} must be an http or https URL with a host")
    if not parts.hostname.isascii():
        raise ValueError(f"{name} must have its host in ASCII, as xn--...")
    return parts


def _absolute(path: FilePath | None) -> FilePath | None:
    return Path(path).absolute() if path and isinstance(path, (str, os.PathLike)) else path


def _check_certificates(ca_file: FilePath | None, client_certificate: FilePath | None) -> None:
    with importing:
        import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    name, path, what = "ca_file", ca_file, "certificates"
    try:
        if path is not None:
            context.load_verify_locations(path)
        name, path, what = "client_certificate", client_certificate, "a certificate and its key, without a password"
        if path is not None:
            # An empty password, for else OpenSSL would ask for one at the terminal.
            context.load_cert_chain(path, password="")
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be the path of a PEM file with {what}: {path}: {error}") from error


def _check_key(key: object) -> None:
    # The key becomes a header: a line break in it would let it write further headers.
    if not isinstance(key, str) or not key or not all("!" <= letter <= "~" for letter in key):
        raise ValueError("api_key must be a non-empty text of visible ASCII characters")


def _check_seconds(name: str, value: object, least: float, most: float) -> None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not usable or not least <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{name} must be a number of seconds from {least} to {most}")


def _check_count(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be an integer from {least} to {most}")
