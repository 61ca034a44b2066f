"""The server as others see it: the way there, what comes back. Apart from `transport`, which loads urllib3."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from .config import Config
from .process import importing

if TYPE_CHECKING:
    from .transport import Transport

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_CURES = {401: ": check api_key", 403: ": api_key needs the role sdk", 404: ": check base_url", 407: ": check proxy"}
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class TransportError(Exception):
    """No usable answer: the network, the time or the size of the response."""


class Reply(NamedTuple):
    """What the server answered; ``retry_after`` in seconds, 0 if it did not say."""

    status: int
    body: bytes
    etag: str | None
    retry_after: float

    def __str__(self) -> str:
        return f"status {self.status}{_CURES.get(self.status, '')}"


def read_receipt(body: bytes, sent: int) -> Counter[str]:
    """The rejected events of a batch of ``sent``, counted by reason (``rejected:CODE``).

    Raises:
        ValueError: not a receipt for this batch. A proxy may answer 202 to anything: the batch is sent again.
    """
    try:
        receipt = json.loads(body)
        accepted, rejected = receipt["accepted"], receipt["rejected"]
        indexes = {entry["index"] for entry in rejected}
        codes = [entry["code"] for entry in rejected]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a receipt") from error
    if not all(type(index) is int and 0 <= index < sent for index in indexes):
        raise ValueError("the receipt names events that were not sent")
    if type(accepted) is not int or len(indexes) != len(codes) or accepted + len(codes) != sent:
        raise ValueError("the receipt counts other events than were sent")
    return Counter(f"rejected:{_plain(code)}" for code in codes)


def _plain(code: object) -> str:
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "OTHER"


class Connection:
    """One transport for all threads of a process, opened when first needed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._transport: Transport | None = None

    def renew(self) -> None:
        self._lock = threading.RLock()
        if self._transport is not None:
            self._transport.renew()
        self._transport = None

    def open(self) -> Transport:
        with importing:
            from .transport import Transport
        with self._lock:
            if self._transport is None:
                self._transport = Transport(self._config)
            return self._transport

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Backoff:
    """Doubles from 0.5 to 30 seconds; a random half of each pause keeps many clients apart."""

    def __init__(self) -> None:
        self._step = _FIRST_PAUSE

    def next(self) -> float:
        pause = self._step
        self._step = min(pause * 2, _LONGEST_PAUSE)
        return pause * (0.5 + 0.5 * random.random())  # noqa: S311 (spreads load, hides nothing)
