"""Networks of a bank: a private authority, certificates for clients, and a proxy that is the only way out."""

from __future__ import annotations

import logging
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from abplatform_sdk import Client, Config
from abplatform_sdk.reply import TransportError
from abplatform_sdk.transport import Transport

from tests.sdk.authority import Authority
from tests.sdk.forward_proxy import ForwardProxy
from tests.sdk.server import CONVERSIONS, KEY, SNAPSHOT, PlatformServer
from tests.sdk.snapshots import snapshot

PASSWORD = "p:/s#wörd@1"
CREDENTIALS = "bank:p%3A%2Fs%23w%C3%B6rd%401"
AUTHORIZATION = f"Basic {b64encode(f'bank:{PASSWORD}'.encode()).decode()}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The bank's own authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server_certificate(authority: Authority) -> Path:
    """For 127.0.0.1."""
    return authority.issue("server")


@pytest.fixture(scope="module")
def client_certificate(authority: Authority) -> Path:
    """The client's own, with its key."""
    return authority.issue("client")


@pytest.fixture
def start() -> Iterator[Callable[..., PlatformServer]]:
    """Starts platforms and stops them after the test."""
    started: list[PlatformServer] = []

    def begin(**arguments: Any) -> PlatformServer:
        started.append(PlatformServer(snapshot(), **arguments))
        return started[-1]

    yield begin
    for platform in started:
        platform.stop()


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., ForwardProxy]]:
    """Starts proxies and stops them after the test."""
    started: list[ForwardProxy] = []

    def begin(**arguments: Any) -> ForwardProxy:
        started.append(ForwardProxy(**arguments))
        return started[-1]

    yield begin
    for proxy in started:
        proxy.stop()


def works(client: Client, platform: PlatformServer) -> bool:
    """Whether it has a snapshot, and the platform has an event of it."""
    if not client.wait_ready(5) or client.stats().snapshot_source != "server":
        return False
    client.track("purchase", "u-1")
    return client.flush(5).delivered == 1 and len(platform.taken[CONVERSIONS]) == 1


def fails(client: Client, platform: PlatformServer, eventually: Callable[..., None]) -> bool:
    """Whether it fails again and again, and the platform heard nothing of it."""
    client.track("purchase", "u-1")
    client.evaluate("rate-display", "u-1")
    eventually(lambda: client.stats().poll_failures > 1)
    client.close(0)
    return platform.requests == []


def _both(one: Authority, other: Authority, folder: Path) -> Path:
    together = folder / "both.pem"
    together.write_bytes(one.certificate.read_bytes() + other.certificate.read_bytes())
    return together


def test_a_private_authority_is_trusted_and_no_other(
    authority: Authority,
    server_certificate: Path,
    start: Callable[..., PlatformServer],
    make_client: Callable[..., Client],
    eventually: Callable[..., None],
    tmp_path: Path,
) -> None:
    platform = start(context=authority.serve(server_certificate))
    stranger = Authority(tmp_path, "stranger")
    assert fails(make_client(url=platform.url), platform, eventually)
    assert fails(make_client(url=platform.url, ca_file=stranger.certificate), platform, eventually)
    other_name = platform.url.replace("127.0.0.1", "localhost")
    assert fails(make_client(url=other_name, ca_file=authority.certificate), platform, eventually)
    assert works(make_client(url=platform.url, ca_file=authority.certificate), platform)


def test_certificates_of_the_system_are_not_trusted_beside_a_ca_file(
    authority: Authority,
    server_certificate: Path,
    start: Callable[..., PlatformServer],
    make_client: Callable[..., Client],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    platform = start(context=authority.serve(server_certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert fails(make_client(url=platform.url, ca_file=Authority(tmp_path).certificate), platform, eventually)
    assert works(make_client(url=platform.url), platform)


def test_a_server_that_asks_for_a_certificate_gets_the_clients(
    authority: Authority,
    server_certificate: Path,
    client_certificate: Path,
    start: Callable[..., PlatformServer],
    make_client: Callable[..., Client],
    eventually: Callable[..., None],
) -> None:
    platform = start(context=authority.serve(server_certificate, ask_clients=True))
    options = {"url": platform.url, "ca_file": str(authority.certificate)}
    assert fails(make_client(**options), platform, eventually)
    assert works(make_client(**options, client_certificate=client_certificate), platform)


def test_relative_paths_hold_after_a_change_of_directory(
    authority: Authority,
    server_certificate: Path,
    client_certificate: Path,
    start: Callable[..., PlatformServer],
    make_client: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    platform = start(context=authority.serve(server_certificate, ask_clients=True))
    monkeypatch.chdir(authority.certificate.parent)
    client = make_client(
        url=platform.url, ca_file=authority.certificate.name, client_certificate=client_certificate.name
    )
    monkeypatch.chdir(tmp_path)
    assert works(client, platform)


@pytest.mark.parametrize("proxy_speaks", ["http", "https"])
@pytest.mark.parametrize("platform_speaks", ["http", "https"])
def test_all_requests_go_through_the_proxy_and_only_it_hears_its_password(
    authority: Authority,
    server_certificate: Path,
    start: Callable[..., PlatformServer],
    start_proxy: Callable[..., ForwardProxy],
    make_client: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
    proxy_speaks: str,
    platform_speaks: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    contexts = {"http": None, "https": authority.serve(server_certificate)}
    platform = start(context=contexts[platform_speaks])
    proxy = start_proxy(context=contexts[proxy_speaks], authorization=AUTHORIZATION)
    client = make_client(url=platform.url, ca_file=authority.certificate, proxy=proxy.url(CREDENTIALS))
    assert works(client, platform)
    client.close(1)
    assert {request.headers.get("Proxy-Authorization") for request in platform.requests} == {None}
    assert {headers["Proxy-Authorization"] for _, _, headers in proxy.heads} == {AUTHORIZATION}
    if platform_speaks == "https":
        assert {method for method, _, _ in proxy.heads} == {"CONNECT"}
        assert not any("Authorization" in headers for _, _, headers in proxy.heads)
    else:
        assert len(proxy.heads) == len(platform.requests)
        assert ("GET", platform.url + SNAPSHOT) in [head[:2] for head in proxy.heads]
    for secret in (PASSWORD, CREDENTIALS, AUTHORIZATION.removeprefix("Basic "), KEY):
        assert secret not in caplog.text


def test_a_client_certificate_goes_to_the_platform_through_the_tunnel(
    authority: Authority,
    server_certificate: Path,
    client_certificate: Path,
    start: Callable[..., PlatformServer],
    start_proxy: Callable[..., ForwardProxy],
    make_client: Callable[..., Client],
) -> None:
    platform = start(context=authority.serve(server_certificate, ask_clients=True))
    client = make_client(
        url=platform.url + "/",
        ca_file=authority.certificate,
        client_certificate=client_certificate,
        proxy=start_proxy().url(),
    )
    assert works(client, platform)


def test_certificates_that_are_renewed_need_no_new_client(
    authority: Authority,
    server_certificate: Path,
    client_certificate: Path,
    start: Callable[..., PlatformServer],
    make_client: Callable[..., Client],
    eventually: Callable[..., None],
    tmp_path: Path,
) -> None:
    platform = start(context=authority.serve(server_certificate, ask_clients=True))
    stranger = Authority(tmp_path, "stranger")
    trusted, own = tmp_path / "trusted.pem", stranger.issue("own")
    trusted.write_bytes(authority.certificate.read_bytes())
    client = make_client(url=platform.url, ca_file=trusted, client_certificate=own)
    client.evaluate("rate-display", "u-1")
    eventually(lambda: client.stats().poll_failures > 0)
    own.write_bytes(client_certificate.read_bytes())
    assert works(client, platform)
    trusted.write_bytes(stranger.certificate.read_bytes())
    platform.stop()
    platform.start()
    before = client.stats().poll_failures
    eventually(lambda: client.stats().poll_failures > before + 1)
    trusted.write_bytes(authority.certificate.read_bytes())
    client.track("purchase", "u-2")
    assert client.flush(5).delivered == 1


def test_an_https_proxy_that_asks_for_a_certificate_gets_none(
    authority: Authority,
    server_certificate: Path,
    client_certificate: Path,
    start: Callable[..., PlatformServer],
    start_proxy: Callable[..., ForwardProxy],
    make_client: Callable[..., Client],
) -> None:
    platform = start(context=authority.serve(server_certificate, ask_clients=True))
    curious = authority.serve(server_certificate, ask_clients=True)
    curious.verify_mode = ssl.CERT_OPTIONAL
    proxy = start_proxy(context=curious)
    client = make_client(
        url=platform.url, ca_file=authority.certificate, client_certificate=client_certificate, proxy=proxy.url()
    )
    assert works(client, platform)
    assert set(proxy.certificates) == {None}


@pytest.mark.parametrize("proxy_speaks", ["http", "https"])
def test_a_platform_behind_a_tunnel_must_be_trusted_too(
    authority: Authority,
    server_certificate: Path,
    start: Callable[..., PlatformServer],
    start_proxy: Callable[..., ForwardProxy],
    make_client: Callable[..., Client],
    eventually: Callable[..., None],
    tmp_path: Path,
    proxy_speaks: str,
) -> None:
    stranger = Authority(tmp_path, "stranger")
    platform = start(context=stranger.serve(stranger.issue("pretender")))
    proxy = start_proxy(context=authority.serve(server_certificate) if proxy_speaks == "https" else None)
    client = make_client(url=platform.url, ca_file=authority.certificate, proxy=proxy.url())
    assert fails(client, platform, eventually)
    assert {method for method, _, _ in proxy.heads} == {"CONNECT"}
    assert works(
        make_client(url=platform.url, ca_file=_both(authority, stranger, tmp_path), proxy=proxy.url()), platform
    )


@pytest.mark.parametrize("proxy_speaks", ["http", "https"])
@pytest.mark.parametrize("phase", ["handshake", "answer"])
def test_bytes_that_come_one_by_one_through_a_tunnel_do_not_stretch_a_request(
    authority: Authority,
    server_certificate: Path,
    start: Callable[..., PlatformServer],
    start_proxy: Callable[..., ForwardProxy],
    proxy_speaks: str,
    phase: str,
) -> None:
    context = authority.serve(server_certificate)
    platform = start(context=context)
    proxy = start_proxy(context=context if proxy_speaks == "https" else None)
    waits = {"connect_timeout": 0.3, "read_timeout": 0.1, "ca_file": authority.certificate, "proxy": proxy.url()}
    transport = Transport(Config(base_url=platform.url, api_key=KEY, cache_dir=None, **waits))
    if phase == "answer":
        assert transport.get("/snapshot", etag=None, most_bytes=100_000).status == 200
    proxy.pause = 0.02
    began = time.monotonic()
    with pytest.raises(TransportError):
        transport.get("/snapshot", etag=None, most_bytes=100_000)
    # One time to connect and four to read.
    assert time.monotonic() - began < 0.3 + 4 * 0.1 + 0.5
    transport.close()


@pytest.mark.parametrize("platform_speaks", ["http", "https"])
def test_a_proxy_that_refuses_is_a_failure_that_names_no_secret(
    authority: Authority,
    server_certificate: Path,
    start: Callable[..., PlatformServer],
    start_proxy: Callable[..., ForwardProxy],
    make_client: Callable[..., Client],
    eventually: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    platform_speaks: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    platform = start(context=authority.serve(server_certificate) if platform_speaks == "https" else None)
    proxy = start_proxy(authorization="Basic other")
    client = make_client(url=platform.url, ca_file=authority.certificate, proxy=proxy.url(CREDENTIALS))
    assert fails(client, platform, eventually)
    assert "no snapshot yet: " in caplog.text
    assert "p%3A" not in caplog.text
    assert AUTHORIZATION.removeprefix("Basic ") not in caplog.text
    assert PASSWORD not in caplog.text


def test_no_proxy_is_taken_from_the_environment(
    server: PlatformServer,
    start_proxy: Callable[..., ForwardProxy],
    make_client: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = start_proxy()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url())
        monkeypatch.setenv(name.lower(), proxy.url())
    assert works(make_client(), server)
    assert proxy.heads == []


@pytest.mark.parametrize(
    ("option", "name"),
    [
        *(
            (option, name)
            for option in ("ca_file", "client_certificate")
            for name in ("missing", "a folder", "no PEM", 5)
        ),
        *(("client_certificate", name) for name in ("no key", "a key with a password", "another's key")),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(
    authority: Authority, client_certificate: Path, tmp_path: Path, option: str, name: Any
) -> None:
    (tmp_path / "no PEM").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    (tmp_path / "a folder").mkdir()
    certificate = client_certificate.read_text().partition("-----BEGIN PRIVATE KEY")[0]
    other = authority.issue("other").read_text().partition("-----BEGIN PRIVATE KEY")[2]
    (tmp_path / "no key").write_text(certificate)
    (tmp_path / "another's key").write_text(f"{certificate}-----BEGIN PRIVATE KEY{other}")
    (tmp_path / "a key with a password").write_bytes(authority.encrypt("locked").read_bytes())
    options: dict[str, Any] = {option: tmp_path / name if isinstance(name, str) else name}
    with pytest.raises(ValueError, match=f"^{option} must be the path of a PEM file with "):
        Client("https://a", "k", **options)
