"""Keep-alive connections that send ready requests, one thread for all."""

from __future__ import annotations

import json
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from benchmarks.event_load.bodies import IdParts, Request
from benchmarks.event_load.fingerprints import fingerprint, join
from benchmarks.event_load.orders import Order, Report

ANSWER_SECONDS = 60.0
_BUFFER = 1 << 20
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


class Connection:
    """One connection, and the request that it sends again and again."""

    def __init__(self, address: tuple[str, int], request: Request) -> None:
        self.request = request
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self.socket.setblocking(False)
        self.rest = memoryview(b"")
        self.due = 0.0
        self._answer = b""

    def begin(self, due: float) -> None:
        """Start a request whose time counts from ``due``."""
        self.request.renew()
        self.rest, self.due, self._answer = memoryview(self.request.data), due, b""
        self.push()

    def push(self) -> None:
        """Send as much as the socket takes."""
        try:
            while self.rest:
                self.rest = self.rest[self.socket.send(self.rest) :]
        except BlockingIOError:
            pass

    def read(self) -> tuple[int, int] | None:
        """Status and accepted events, once the answer is whole.

        Raises:
            ConnectionError: the server hung up.
        """
        piece = self.socket.recv(65_536)
        if not piece:
            raise ConnectionResetError
        self._answer += piece
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return None
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return None
        status = int(head[9:12])
        return status, json.loads(body)["accepted"] if status == 202 else 0


class Sender:
    """All connections to one server; use as a context manager.

    Args:
        requests: one for each connection.
    """

    def __init__(self, host: str, port: int, requests: Sequence[Request]) -> None:
        self._poll = select.epoll()
        self._connections = {}
        for request in requests:
            connection = Connection((host, port), request)
            self._connections[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLIN)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for connection in self._connections.values():
            connection.socket.close()

    def send(self, order: Order) -> Report:
        """Send for as long as ordered, wait for the last answers, report."""
        stretch = _Stretch(self._poll, self._connections, order)
        cpu = time.process_time()
        stretch.run()
        return stretch.report(time.process_time() - cpu)


class _Stretch:
    def __init__(self, poll: select.epoll, connections: dict[int, Connection], order: Order) -> None:
        self._poll, self._connections, self._order = poll, connections, order
        self._free = deque(connections)
        self._latencies: list[float] = []
        self._accepted: list[tuple[Request, IdParts]] = []
        self._statuses: Counter[int] = Counter()
        self._answered = self._acknowledged = self._unanswered = self._begun = 0
        self._start = self._end = 0.0

    def run(self) -> None:
        self._start = self._end = time.perf_counter()
        give_up = self._start + self._order.seconds + ANSWER_SECONDS
        while time.perf_counter() < give_up:
            wait = self._begin_due()
            if wait is None and len(self._free) == len(self._connections):
                return
            for descriptor, event in self._poll.poll(wait if wait is not None else 0.5):
                self._serve(descriptor, event)
        raise TimeoutError(f"no answer for {ANSWER_SECONDS:.0f} s")

    def report(self, cpu: float) -> Report:
        seconds = np.array(self._latencies or [float("inf")])
        return Report(
            answered=self._answered,
            acknowledged=self._acknowledged,
            fingerprint=join(*(fingerprint(request.ids(parts)) for request, parts in self._accepted)),
            unanswered=self._unanswered,
            statuses={str(status): amount for status, amount in self._statuses.items()},
            elapsed=self._end - self._start,
            cpu=cpu,
            latencies={name: float(np.quantile(seconds, share)) for name, share in _QUANTILES.items()},
        )

    def _begin_due(self) -> float | None:
        """Begin what is due on free connections; seconds until something is due, or None at the end."""
        last = self._start + self._order.seconds
        while True:
            now = time.perf_counter()
            due = now if self._order.rate is None else self._start + self._begun / self._order.rate
            if due >= last:
                return None
            if due > now:
                return due - now
            if not self._free:
                return last - now if last > now else 0.5
            self._begun += 1
            self._begin(self._free.popleft(), due)

    def _begin(self, descriptor: int, due: float) -> None:
        connection = self._connections[descriptor]
        connection.begin(due)
        if connection.rest:
            self._poll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)

    def _serve(self, descriptor: int, event: int) -> None:
        connection = self._connections[descriptor]
        if event & select.EPOLLOUT:
            connection.push()
            if not connection.rest:
                self._poll.modify(descriptor, select.EPOLLIN)
        if not event & ~select.EPOLLOUT:
            return
        try:
            answer = connection.read()
        except ConnectionError:
            self._lose(descriptor)
            return
        if answer is not None:
            self._end = time.perf_counter()
            self._latencies.append(self._end - connection.due)
            self._statuses[answer[0]] += 1
            self._answered += connection.request.batch
            self._acknowledged += answer[1]
            if answer[1] == connection.request.batch:
                self._accepted.append((connection.request, connection.request.id_parts))
            self._free.append(descriptor)

    def _lose(self, descriptor: int) -> None:
        self._unanswered += 1
        self._poll.unregister(descriptor)
        self._connections.pop(descriptor).socket.close()
        if not self._connections:
            raise ConnectionResetError("the server closed every connection")
