"""What comes back from the server. Apart from `transport`, so that knowing it does not load urllib3."""

from __future__ import annotations

from typing import NamedTuple


class TransportError(Exception):
    """No usable answer: the network, the time or the size of the response."""


class Reply(NamedTuple):
    """What the server answered; ``retry_after`` in seconds, 0 if it did not say."""

    status: int
    body: bytes
    etag: str | None
    retry_after: float
