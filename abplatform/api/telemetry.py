"""What operators watch, in Prometheus' text format.

Requests and events are counted by this process, or by all processes of ``abplatform serve`` together: it names a
folder in ``PROMETHEUS_MULTIPROC_DIR``, where each of them keeps its numbers. What waits in the inbox is read from the
database; while that does not answer, these numbers are left out.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime

from flask import Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from abplatform.domain.events import EventKind
from abplatform.warehouse.inbox import Inbox

KINDS: tuple[EventKind, ...] = ("exposure", "conversion")
_ANY_OF = re.compile(r"<any\([^)]*\):(?P<name>\w+)>")
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"})


class Telemetry:
    """Counters of one app; each has its own registry, so that several can live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "abplatform_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "abplatform_request_seconds", "Time to answer", ("method", "route"), registry=self._registry
        )
        self._events = Counter("abplatform_events", "Events received", ("kind", "outcome"), registry=self._registry)

    def count_request(self, status: int) -> None:
        """Count the present request; unknown paths share one label, so that nobody can make labels."""
        route = "unknown" if request.url_rule is None else _route(request.url_rule.rule)
        method = request.method if request.method in _METHODS else "other"
        self.count_answer(method, route, status, time.perf_counter() - g.started)

    def count_answer(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, route, str(int(status))).inc()
        self._seconds.labels(method, route).observe(seconds)

    def count_events(self, kind: str, *, accepted: int, rejected: int) -> None:
        """Count the events of a request."""
        self._events.labels(kind, "accepted").inc(accepted)
        self._events.labels(kind, "rejected").inc(rejected)

    def count_lost_exposures(self, count: int) -> None:
        """Count exposures of an evaluation here that could not be kept."""
        self._events.labels("exposure", "lost").inc(count)

    def render(self, inbox: Inbox, projects: Sequence[str], *, now: datetime) -> bytes:
        """All numbers, with what the inbox says of each project.

        Raises:
            Unavailable: if the database does not answer.
        """
        return self._render(_Database(is_up=True), _Waiting(inbox, projects, now))

    def render_counted(self) -> bytes:
        """The numbers that are counted in processes, and that the database does not answer."""
        return self._render(_Database(is_up=False))

    def _render(self, *collectors: Collector) -> bytes:
        read = CollectorRegistry()
        for each in collectors:
            read.register(each)
        return generate_latest(self._counted()) + generate_latest(read)

    def _counted(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._registry
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all)
        return of_all


def _route(rule: str) -> str:
    """The rule of the present request; where it takes one of a few words, the word that came."""
    arguments = request.view_args or {}
    return _ANY_OF.sub(lambda found: str(arguments[found["name"]]), rule)


class _Database(Collector):
    """Whether the database answers."""

    def __init__(self, *, is_up: bool) -> None:
        self._is_up = is_up

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("abplatform_database_up", "Whether the database answers", int(self._is_up))


class _Waiting(Collector):
    """What the inbox holds, of all processes."""

    def __init__(self, inbox: Inbox, projects: Sequence[str], now: datetime) -> None:
        self._inbox = inbox
        self._projects = projects
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        pending = GaugeMetricFamily(
            "abplatform_inbox_pending", "Accepted events that wait to be sealed", None, ["project"]
        )
        lag = GaugeMetricFamily(
            "abplatform_seal_lag_seconds", "Age of the oldest event that waits to be sealed", None, ["project"]
        )
        dropped = GaugeMetricFamily(
            "abplatform_events_not_counted", "Events that do not count, by why", None, ["project", "kind", "reason"]
        )
        for project in self._projects:
            oldest = self._inbox.oldest(project)
            pending.add_metric([project], self._inbox.pending(project))
            lag.add_metric([project], 0 if oldest is None else max(0.0, (self._now - oldest).total_seconds()))
            for kind in KINDS:
                for reason, events in self._inbox.counters(project, kind).items():
                    dropped.add_metric([project, kind, reason], events)
        yield from (pending, lag, dropped)


def telemetry() -> Telemetry:
    """The counters of the present app."""
    counters: Telemetry = current_app.extensions["abplatform_telemetry"]
    return counters


def watch_requests(app: Flask) -> None:
    """Number, time and count every request of the app."""
    app.extensions["abplatform_telemetry"] = Telemetry()

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        g.request_id = uuid.uuid4().hex

    @app.after_request
    def end(response: Response) -> Response:
        telemetry().count_request(response.status_code)
        response.headers["X-Request-Id"] = g.request_id
        return response
