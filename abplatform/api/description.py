"""The API's description (OpenAPI 3.1), and the page that shows it without internet."""

from __future__ import annotations

import mimetypes
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Flask, Response, redirect, request
from flask_smorest import Api

from abplatform import __version__
from abplatform.api import (
    acquisition,
    assignments,
    behaviours,
    events,
    experiments,
    health,
    holdouts,
    keys,
    layers,
    metrics,
    ofrep,
    portfolio,
    projects,
    results,
    segments,
    snapshot,
    steps,
    templates,
)
from abplatform.api.auth import API_KEY_SCHEME, SECURITY_SCHEME
from abplatform.api.problems import CONTENT_TYPE
from abplatform.api.routing import CONVERTERS, path_schema
from abplatform.api.schemas.events import COMPONENTS as EVENT_COMPONENTS
from abplatform.api.schemas.listing import ProblemSchema
from abplatform.api.schemas.ofrep import COMPONENTS as FLAG_COMPONENTS

RESOURCES = (
    experiments.resource,
    steps.resource,
    results.resource,
    acquisition.resource,
    portfolio.resource,
    metrics.resource,
    templates.resource,
    layers.resource,
    holdouts.resource,
    segments.resource,
    behaviours.resource,
    snapshot.resource,
    assignments.resource,
    ofrep.resource,
    events.resource,
    keys.resource,
    projects.resource,
    health.resource,
)
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_OWN = Path(__file__).parent / "static"
_SWAGGER = Path(str(files("flask_swagger_ui"))) / "dist"
_ASSETS = {
    "start.js": _OWN,
    "swagger-ui.css": _SWAGGER,
    "swagger-ui-bundle.js": _SWAGGER,
    "favicon-32x32.png": _SWAGGER,
}

_docs = Blueprint("docs", __name__, url_prefix="/api/docs")


class _Description(Api):
    """flask-smorest's Api with our shape of errors, which `abplatform.api.problems` gives."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Nothing: errors are not turned into HTTP here."""

    def _register_responses(self) -> None:
        content = {CONTENT_TYPE: {"schema": self.ERROR_SCHEMA}}
        for status in HTTPStatus:
            self.spec.components.response(status.name, {"description": status.phrase, "content": content}, lazy=True)
        refused = {"description": "refused", "content": content}
        self.spec.components.response(self.DEFAULT_ERROR_RESPONSE_NAME, refused, lazy=True)

    def _register_pagination_header(self) -> None:
        """Nothing: pages are part of the body."""


def describe(app: Flask) -> None:
    """Register all resources with their description and the page that shows it."""
    app.config.update(
        API_TITLE="abplatform",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api/v1",
        OPENAPI_JSON_PATH="openapi.json",
    )
    api = _Description(app)
    for converter in CONVERTERS.values():
        api.register_converter(converter, path_schema)
    api.spec.components.security_scheme("key", SECURITY_SCHEME)
    api.spec.components.security_scheme("api_key", API_KEY_SCHEME)
    found = results.COMPONENTS | acquisition.COMPONENTS | portfolio.COMPONENTS
    for name, component in (found | EVENT_COMPONENTS | FLAG_COMPONENTS).items():
        api.spec.components.schema(name, component)
    for resource in RESOURCES:
        api.register_blueprint(resource)
    app.register_blueprint(_docs)
    app.add_url_rule("/", "home", lambda: redirect("/api/docs"))


@_docs.get("")
def page() -> Response:
    """The page that shows the API's description; everything that it loads comes from here."""
    return _file(_OWN / "docs.html")


@_docs.get("/<any({}):name>".format(", ".join(f'"{name}"' for name in _ASSETS)))
def asset(name: str) -> Response:
    """A file that the page loads."""
    return _file(_ASSETS[name] / name)


def _file(path: Path) -> Response:
    kind, _ = mimetypes.guess_type(path.name)
    response = Response(path.read_bytes(), mimetype=kind)
    response.headers["Content-Security-Policy"] = DOCS_POLICY
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]
