"""A platform in a process of its own, so that it takes no time from the process that is measured."""

from __future__ import annotations

import threading
from collections import Counter
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from tests.sdk.bad_answers import BAD_ANSWERS
from tests.sdk.server import CONVERSIONS, EXPOSURES, SNAPSHOT, Answer, Handler, PlatformServer, lose_receipt, problem
from tests.sdk.snapshots import snapshot

PATHS = (SNAPSHOT, EXPOSURES, CONVERSIONS)
EVENTS = (EXPOSURES, CONVERSIONS)


class Remote:
    """A platform that is told by messages what to do.

    Attributes:
        url: where it answers.
        elsewhere: where another one answers, which should never be asked.
    """

    def __init__(self, *, tls: bool = False) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, tls), daemon=True)
        self._process.start()
        self.url, self.elsewhere = self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.send(None)
        self._process.join(30)

    def ask(self, what: str, *arguments: Any) -> Any:
        """Do one of the commands below; gives its answer."""
        self._pipe.send((what, arguments))
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _serve(pipe: Connection, tls: bool) -> None:
    commands = _Commands(tls)
    pipe.send((commands.platform.url, commands.elsewhere.url))
    while (message := pipe.recv()) is not None:
        what, arguments = message
        try:
            pipe.send(getattr(commands, what)(*arguments))
        except Exception as error:  # noqa: BLE001 (raised again by the one who asked)
            pipe.send(error)
    commands.platform.stop()
    commands.elsewhere.stop()


class _Commands:
    def __init__(self, tls: bool) -> None:
        self.platform = PlatformServer(snapshot(), tls=tls)
        self.elsewhere = PlatformServer(snapshot(99))
        self._answers: dict[str, Answer] = BAD_ANSWERS | {
            "redirect to another server": problem(307, Location=self.elsewhere.url),
            "lost receipts": _lose_every_other_receipt,
            "poison is refused": _refuse_poison,
            "everything is refused": problem(400),
            "everything is too large": problem(413),
        }

    def fault(self, name: str, paths: tuple[str, ...] = PATHS) -> None:
        """Answer so on these paths."""
        self.platform.answers = dict.fromkeys(paths, self._answers[name])

    def lift(self) -> None:
        """Answer well again; what hangs is let go."""
        self.platform.answers = {}
        self.platform.let_go.set()
        self.platform.let_go = threading.Event()

    def publish(self, document: dict[str, Any]) -> None:
        """Serve another snapshot."""
        self.platform.snapshot = document

    def stop(self) -> None:
        """Die."""
        self.platform.stop()

    def start(self) -> None:
        """Come back."""
        self.platform.let_go = threading.Event()
        self.platform.start()

    def requests(self, path: str) -> int:
        """How many came."""
        return len(self.platform.sent(path))

    def units(self, path: str) -> dict[str, int]:
        """How often each unit arrived, under different ids."""
        return Counter(event["unit_id"] for event in self.platform.taken[path].values())

    def ids_of_units(self, path: str) -> int:
        """The most ids under which an event of one unit was ever sent, taken or not."""
        ids: dict[str, set[str]] = {}
        for request in self.platform.sent(path):
            for event in request.events:
                ids.setdefault(event["unit_id"], set()).add(event["event_id"])
        return max(map(len, ids.values()), default=0)

    def requests_elsewhere(self) -> int:
        """How many came to the other server."""
        return len(self.elsewhere.requests)

    def forget(self) -> None:
        """Begin with an empty memory."""
        self.platform.requests.clear()
        for taken in self.platform.taken.values():
            taken.clear()


def _lose_every_other_receipt(handler: Handler) -> None:
    platform = handler.server.platform
    if len(platform.sent(handler.path)) % 2:
        lose_receipt(handler)
    else:
        platform.take(handler.request_read, handler)


def _refuse_poison(handler: Handler) -> None:
    if b"poison" in handler.request_read.body:
        problem(413)(handler)
    else:
        handler.server.platform.take(handler.request_read, handler)
