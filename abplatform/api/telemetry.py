"""What operators watch: counts and times of this process, in Prometheus' text format."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from flask import Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from abplatform.domain.events import EventKind
from abplatform.warehouse.inbox import Inbox

KINDS: tuple[EventKind, ...] = ("exposure", "conversion")
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
        self._pending = Gauge(
            "abplatform_inbox_pending", "Accepted events that wait to be sealed", ("project",), registry=self._registry
        )
        self._dropped = Gauge(
            "abplatform_events_not_counted",
            "Events that do not count, by why, of all processes",
            ("project", "kind", "reason"),
            registry=self._registry,
        )

    def count_request(self, status: int) -> None:
        """Count the present request; unknown paths share one label, so that nobody can make labels."""
        route = request.url_rule.rule if request.url_rule is not None else "unknown"
        method = request.method if request.method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(time.perf_counter() - g.started)

    def count_events(self, kind: str, *, accepted: int, rejected: int) -> None:
        """Count the events of a request."""
        self._events.labels(kind, "accepted").inc(accepted)
        self._events.labels(kind, "rejected").inc(rejected)

    def count_lost_exposures(self, count: int) -> None:
        """Count exposures of an evaluation here that could not be kept."""
        self._events.labels("exposure", "lost").inc(count)

    def render(self, inbox: Inbox, projects: Sequence[str]) -> bytes:
        """All numbers, with what the inbox says of each project."""
        for project in projects:
            self._pending.labels(project).set(inbox.pending(project))
            for kind in KINDS:
                for reason, events in inbox.counters(project, kind).items():
                    self._dropped.labels(project, kind, reason).set(events)
        return generate_latest(self._registry)


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
