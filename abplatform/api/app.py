"""The application factory."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response

from abplatform.api.auth import Admission
from abplatform.api.description import describe
from abplatform.api.events import open_intake
from abplatform.api.fast_lane import FastLane
from abplatform.api.problems import register_problems
from abplatform.api.routing import prepare_routing
from abplatform.api.telemetry import watch_requests
from abplatform.bootstrap import Platform
from abplatform.services.assign import Assigner

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def create_app(platform: Platform) -> Flask:
    """The HTTP API of a platform, as a WSGI application.

    Args:
        platform: the parts of this process; its database has the current schema.
    """
    app = Flask("abplatform", static_folder=None)
    json: Any = app.json
    json.sort_keys, json.ensure_ascii, json.compact = False, False, True
    app.extensions["abplatform"] = platform
    app.extensions["abplatform_admission"] = Admission(platform)
    app.extensions["abplatform_intake"] = intake = open_intake(platform)
    app.extensions["abplatform_assigner"] = Assigner(platform.uow, intake)
    prepare_routing(app)
    register_problems(app)
    watch_requests(app)
    app.after_request(_add_headers)
    describe(app)
    app.wsgi_app = FastLane(app, _HEADERS.items())  # type: ignore[method-assign]
    return app


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
