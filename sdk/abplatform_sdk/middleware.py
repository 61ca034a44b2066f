"""A client bound to the unit of one request; WSGI and ASGI, with `current` for the request that is served.

>>> app = WsgiMiddleware(app, client, unit=lambda environ: environ.get("HTTP_X_CUSTOMER"))  # doctest: +SKIP
>>> current().assign("rate-display", default={"copy": "3.5% a year"}).payload               # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ._assignment import Reason, unanswered
from .client import Client
from .decision import Decision, decision_with_default
from .notices import Troubles

__all__ = ["AsgiMiddleware", "BoundClient", "Unit", "WsgiMiddleware", "current"]

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]


class Unit(NamedTuple):
    """Whom a request is about; the arguments of `Client.assign` under the same names."""

    unit_id: str | None
    attributes: Mapping[str, Any] | None = None
    units: Mapping[str, str] | None = None


# What a product may give: all of it, the id alone, or None for nobody.
Found = Unit | str | None

_NOBODY = Unit(None)
_troubles = Troubles()


class BoundClient:
    """The calls of a `Client` without the unit, which is looked up when a call first needs it, and once.

    Like the client it never raises: without a unit, or if looking it up fails, the reason is ``NO_UNIT``.

    Args:
        client: decides and logs; None (outside of requests) answers ``NO_UNIT``.
        find: gives the unit. What it raises is logged, at most once a minute.
    """

    def __init__(self, client: Client | None, find: Callable[[], Found]) -> None:
        self.client = client
        self._find = find
        self._unit: Unit | None = None

    @property
    def unit(self) -> Unit:
        """The unit; its id is None if there is none."""
        if self._unit is None:
            self._unit = _look_up(self._find)
        return self._unit

    def assign(self, experiment: str, *, default: Any = None) -> Decision:
        """As `Client.assign`: decides, and logs the exposure."""
        if self.client is None:
            return _nobody(experiment, default)
        unit_id, attributes, units = self.unit
        return self.client.assign(experiment, unit_id, attributes, units=units, default=default)

    def evaluate(self, experiment: str, *, default: Any = None) -> Decision:
        """As `Client.evaluate`: decides, without an exposure."""
        if self.client is None:
            return _nobody(experiment, default)
        unit_id, attributes, units = self.unit
        return self.client.evaluate(experiment, unit_id, attributes, units=units, default=default)

    def expose(self, decision: Decision) -> bool:
        """As `Client.expose`: logs the exposure of a decision of `evaluate`."""
        return self.client is not None and self.client.expose(decision)

    def track(
        self,
        event: str,
        *,
        value: Decimal | float | str | None = None,
        properties: Mapping[str, str | int | float | bool | None] | None = None,
        timestamp: datetime | None = None,
        event_id: str | None = None,
    ) -> bool:
        """As `Client.track`: logs a conversion. False if it was dropped, as it is without any id."""
        if self.client is None:
            return False
        unit_id, _, units = self.unit
        return self.client.track(
            event, unit_id, value=value, properties=properties, units=units, timestamp=timestamp, event_id=event_id
        )


def _look_up(find: Callable[[], Found]) -> Unit:
    try:
        found = find()
    except Exception as error:  # noqa: BLE001 (the product's own code; its request must go on)
        with suppress(Exception):
            # Not what the error says: it may well be about an id.
            _troubles.warn("unit", "the unit of a request cannot be found: %s", type(error).__name__)
        return _NOBODY
    if isinstance(found, Unit):
        return found
    return _NOBODY if found is None else Unit(found)


def _nobody(experiment: str, default: Any) -> Decision:
    return decision_with_default(unanswered(experiment, Reason.NO_UNIT), default)


_NOWHERE = BoundClient(None, lambda: None)
_current: ContextVar[BoundClient] = ContextVar("abplatform_sdk.current", default=_NOWHERE)


def current() -> BoundClient:
    """The client bound to the unit of the request that is served here; outside of requests there is no unit.

    A context variable: right in threads, in tasks, and in what they start with a copy of their context.
    """
    return _current.get()


class WsgiMiddleware:
    """Binds a client to each request of a WSGI application.

    Args:
        app: the application.
        client: one for the whole process; it stays open.
        unit: from the WSGI environment to the request's unit. Called once per request, when first needed.
    """

    def __init__(self, app: WsgiApp, client: Client, *, unit: Callable[[Environ], Found]) -> None:
        self._app = app
        self._client = client
        self._unit = unit

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        # A context of its own: the thread keeps nothing of it, and a body that is made later still has it.
        context = copy_context()
        body = context.run(self._begin, environ, start_response)
        is_made = isinstance(body, (list, tuple, environ.get("wsgi.file_wrapper", list)))
        return body if is_made else _Body(body, context)

    def _begin(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        _current.set(BoundClient(self._client, lambda: self._unit(environ)))
        return self._app(environ, start_response)


class _Body:
    """A response body that is made piece by piece, in the context of its request."""

    def __init__(self, body: Iterable[bytes], context: Context) -> None:
        self._body = body
        self._context = context
        self._pieces = context.run(iter, body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._context.run(next, self._pieces)

    def close(self) -> None:
        """Close the application's body, as WSGI asks for."""
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)


class AsgiMiddleware:
    """Binds a client to each request and connection of an ASGI application, and closes it when the server stops.

    Args:
        app: the application; any framework, or none.
        client: one for the whole process.
        unit: from the ASGI scope to the unit. Called once per request, when first needed, where it is needed: in the
            event loop it must not wait.
    """

    def __init__(self, app: AsgiApp, client: Client, *, unit: Callable[[Message], Found]) -> None:
        self._app = app
        self._client = client
        self._unit = unit

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, connection, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing(send))
            return
        token = _current.set(BoundClient(self._client, lambda: self._unit(scope)))
        try:
            await self._app(scope, receive, send)
        finally:
            _current.reset(token)

    def _closing(self, send: Send) -> Send:
        async def send_and_close(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                # Not at the top: WSGI and Flask come here without it.
                import asyncio

                # In a thread: others go on while what waits is sent.
                await asyncio.to_thread(self._client.close)
            await send(message)

        return send_and_close
