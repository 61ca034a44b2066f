"""HTTPS: a server that nobody vouches for gets no key."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from abplatform_sdk import Client

from tests.sdk import server as faults
from tests.sdk.server import CERTIFICATE, PlatformServer
from tests.sdk.snapshots import snapshot


@pytest.fixture
def secure() -> Iterator[PlatformServer]:
    """A platform behind a certificate that signs itself."""
    platform = PlatformServer(snapshot(), tls=True)
    yield platform
    platform.stop()


def test_a_certificate_that_is_not_trusted_ends_the_attempt_before_the_key_is_sent(
    secure: PlatformServer, make_client: Callable[..., Client], eventually: Callable[..., None]
) -> None:
    client = make_client(url=secure.url)
    client.track("purchase", "u-1")
    client.evaluate("rate-display", "u-1")
    eventually(lambda: client.stats().poll_failures > 1)
    assert secure.requests == []
    assert client.stats().pending == 1
    client.close(0)


def test_a_trusted_certificate_is_accepted_and_responses_stay_bounded(
    secure: PlatformServer,
    make_client: Callable[..., Client],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    client = make_client(url=secure.url)
    assert client.wait_ready(5)
    client.track("purchase", "u-1")
    assert client.flush(5).delivered == 1
    secure.answers[faults.SNAPSHOT] = faults.drip
    eventually(lambda: client.stats().poll_failures > 0)
    client.close(1)
