"""WSGI and ASGI: one client per application, and `current` for the request that is served.

>>> app = WsgiMiddleware(app, client, unit=lambda environ: environ.get("HTTP_X_CUSTOMER"))  # doctest: +SKIP
>>> current().assign("rate-display", default={"copy": "3.5% a year"}).payload               # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextvars import Context, ContextVar, copy_context
from typing import Any

from .bound import BoundClient, Found, Unit
from .client import Client

__all__ = ["AsgiMiddleware", "BoundClient", "Unit", "WsgiMiddleware", "current"]

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

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
                # In a thread: others go on while what waits is sent.
                await asyncio.to_thread(self._client.close)
            await send(message)

        return send_and_close
