"""WSGI and ASGI middleware: the request's unit in threads, tasks and streams; the end of the server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from abplatform_sdk import Client, testing
from abplatform_sdk.middleware import AsgiMiddleware, Unit, WsgiMiddleware, current
from abplatform_sdk.testing import TestingClient

from tests.sdk import server as faults
from tests.sdk.server import CONVERSIONS, PlatformServer

SDK = Path(__file__).parents[2] / "sdk"


@pytest.fixture
def kit() -> Iterator[TestingClient]:
    client = testing.client(snapshot=testing.snapshot(testing.experiment("rate-display")))
    yield client
    client.close(0)


def variant(client: Client, unit: str) -> str:
    return str(client.evaluate("rate-display", unit).variant)


def test_outside_of_a_request_there_is_no_unit() -> None:
    decision = current().assign("rate-display", default=1)
    assert (decision.reason, decision.payload, decision.variant) == ("NO_UNIT", 1, None)
    assert current().evaluate("rate-display", default=2).payload == 2
    assert not current().track("purchase")
    assert not current().expose(decision)
    assert current().unit == Unit(None)


def by_header(environ: dict[str, Any]) -> Unit:
    return Unit(environ["HTTP_X_CUSTOMER"], {"channel": "app"})


def ask(app: Any, unit: str, **environ: Any) -> Iterable[bytes]:
    environ |= {"HTTP_X_CUSTOMER": unit, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    return app(environ, lambda status, headers, error=None: lambda data: None)


def answer_with_variant(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(current().assign("rate-display").variant).encode()]


def test_a_wsgi_request_is_decided_for_its_unit(kit: TestingClient) -> None:
    app = WsgiMiddleware(answer_with_variant, kit, unit=by_header)
    assert b"".join(ask(app, "u-1")).decode() == variant(kit, "u-1")
    assert current().unit.unit_id is None
    assert [event["unit_id"] for event in kit.exposures] == ["u-1"]


def test_wsgi_requests_of_many_threads_keep_their_units_apart(kit: TestingClient) -> None:
    app = WsgiMiddleware(answer_with_variant, kit, unit=by_header)
    together = threading.Barrier(8)

    def one(number: int) -> str:
        together.wait(10)
        return b"".join(ask(app, f"u-{number}")).decode()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(64))) == [variant(kit, f"u-{number}") for number in range(64)]


def test_a_streamed_wsgi_body_is_made_for_its_own_unit_and_closed(kit: TestingClient) -> None:
    closed: list[str | None] = []

    def stream(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            for _ in range(2):
                yield str(current().unit.unit_id).encode()
        finally:
            closed.append(current().unit.unit_id)

    app = WsgiMiddleware(stream, kit, unit=by_header)
    first, second = iter(ask(app, "u-1")), iter(ask(app, "u-2"))
    # One thread serves both in turn, as an asynchronous worker does.
    assert [next(first), next(second), next(first), next(second)] == [b"u-1", b"u-2", b"u-1", b"u-2"]
    first.close()  # type: ignore[attr-defined]
    assert closed == ["u-1"]
    assert list(second) == []
    assert closed == ["u-1", "u-2"]


def test_the_wsgi_middleware_keeps_to_the_protocol(kit: TestingClient) -> None:
    def stream(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"a", b"b"])

    app = validator(WsgiMiddleware(validator(stream), kit, unit=by_header))
    body = ask(app, "u-1")
    assert b"".join(body) == b"ab"
    body.close()  # type: ignore[attr-defined]


def test_a_file_is_handed_to_the_server_as_it_is(kit: TestingClient) -> None:
    with open(__file__, "rb") as file:  # noqa: PTH123 (what applications give to a file wrapper)
        wrapped = FileWrapper(file)
        app = WsgiMiddleware(lambda environ, start_response: wrapped, kit, unit=by_header)
        assert ask(app, "u-1", **{"wsgi.file_wrapper": FileWrapper}) is wrapped


def test_a_unit_that_cannot_be_found_is_no_error_of_the_request(kit: TestingClient) -> None:
    app = WsgiMiddleware(answer_with_variant, kit, unit=lambda environ: environ["no such key"])
    assert b"".join(ask(app, "u-1")) == b"None"


Send = Callable[[dict[str, Any]], Awaitable[None]]


async def asgi_app(scope: Any, receive: Any, send: Send) -> None:
    """Answers with what a task and a thread of the request see."""
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{stage}"
            await send({"type": f"lifespan.{stage}.complete"})
        return

    async def in_task() -> str:
        await asyncio.sleep(0)
        return str(current().assign("rate-display").variant)

    seen = [await asyncio.create_task(in_task()), await asyncio.to_thread(lambda: str(current().unit.unit_id))]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": " ".join(seen).encode()})


def by_query(scope: Any) -> str:
    return scope["query_string"].decode()


async def call(app: AsgiMiddleware, unit: str) -> str:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    await app({"type": "http", "query_string": unit.encode()}, receive, send)
    return sent[-1]["body"].decode()


def test_asgi_requests_in_turn_keep_their_units_apart_in_tasks_and_threads(kit: TestingClient) -> None:
    app = AsgiMiddleware(asgi_app, kit, unit=by_query)

    async def main() -> list[str]:
        answers = await asyncio.gather(*(call(app, f"u-{number}") for number in range(50)))
        assert current().unit.unit_id is None
        return answers

    expected = [f"{variant(kit, f'u-{number}')} u-{number}" for number in range(50)]
    assert asyncio.run(main()) == expected
    assert len(kit.exposures) == 50


async def live(app: AsgiMiddleware, during_shutdown: Callable[[], Awaitable[None]]) -> list[str]:
    """Drive the life of a server; run something while the application shuts down."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    heard: list[str] = []

    async def send(message: Any) -> None:
        heard.append(message["type"])

    life = asyncio.create_task(app({"type": "lifespan"}, told.get, send))
    await told.put({"type": "lifespan.startup"})
    await told.put({"type": "lifespan.shutdown"})
    await during_shutdown()
    await life
    return heard


def test_the_end_of_an_asgi_server_sends_what_waits_and_holds_nobody_up(
    server: PlatformServer, make_client: Callable[..., Client]
) -> None:
    client = make_client(flush_interval=60.0, read_timeout=5.0, close_timeout=5.0)
    release = threading.Event()

    def slow(handler: faults.Handler) -> None:
        release.wait(10)
        server.take(handler.request_read, handler)

    server.answers[CONVERSIONS] = slow
    client.track("purchase", "u-1")

    async def others_go_on() -> None:
        while not server.sent(CONVERSIONS):  # the loop turns while the event is on its way
            await asyncio.sleep(0.001)
        release.set()

    heard = asyncio.run(live(AsgiMiddleware(asgi_app, client, unit=by_query), others_go_on))
    assert heard == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert [event["unit_id"] for event in server.taken[CONVERSIONS].values()] == ["u-1"]
    assert client.stats().delivered == 1
    assert not client.track("purchase", "u-2"), "closed"


def test_an_application_that_knows_no_lifespan_may_say_so(kit: TestingClient) -> None:
    async def old(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "no lifespan"

    async def nothing() -> None:
        return None

    with pytest.raises(AssertionError, match="no lifespan"):
        asyncio.run(live(AsgiMiddleware(old, kit, unit=by_query), nothing))
    assert kit.track("purchase", "u-1"), "the client is still open"


def test_importing_the_package_loads_none_of_the_helpers() -> None:
    program = """
    import sys, abplatform_sdk
    helpers = ("aio", "flask", "middleware", "pytest_plugin", "testing", "transport")
    print(sorted({f"abplatform_sdk.{name}" for name in helpers} & set(sys.modules)), "asyncio" in sys.modules)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env={"PYTHONPATH": str(SDK)}, capture_output=True, check=True
    )
    assert ran.stdout.decode().strip() == "[] False"


def test_the_middleware_needs_no_framework() -> None:
    program = "import sys, abplatform_sdk.middleware; print({'flask', 'urllib3', 'starlette'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(SDK)}, capture_output=True, check=True)
    assert ran.stdout.decode().strip() == "set()"
