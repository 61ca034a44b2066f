"""For operators and load balancers, without a key: alive, ready, numbers."""

from __future__ import annotations

from flask import Response
from flask.views import MethodView
from marshmallow import fields
from prometheus_client import CONTENT_TYPE_LATEST

from abplatform.api.arguments import Resource
from abplatform.api.context import platform
from abplatform.api.schemas.fields import Document
from abplatform.api.telemetry import telemetry
from abplatform.errors import Unavailable

resource = Resource("operations", __name__, description="For operators; no key needed")


class StatusDocument(Document):
    """Whether this process works."""

    status = fields.String(required=True, metadata={"enum": ["ok"]})


@resource.route("/healthz")
class Alive(MethodView):
    """Whether the process answers."""

    @resource.response(200, StatusDocument)
    def get(self) -> dict[str, str]:
        """Say that the process is alive; nothing else is asked."""
        return {"status": "ok"}


@resource.route("/readyz")
class Ready(MethodView):
    """Whether requests can be served."""

    @resource.response(200, StatusDocument)
    def get(self) -> dict[str, str]:
        """Say whether the database answers; 503 if it does not."""
        with platform().uow.reading() as work:
            work.projects.all()
        return {"status": "ok"}


@resource.route("/metrics")
class Numbers(MethodView):
    """Numbers for Prometheus."""

    @resource.response(200, {"type": "string"}, content_type="text/plain")
    def get(self) -> Response:
        """Read the numbers of this server, the size of the inbox and how far sealing is behind.

        While the database does not answer, the numbers that need it are left out, and `abplatform_database_up` is 0.
        """
        parts = platform()
        try:
            with parts.uow.reading() as work:
                projects = [project.key for project in work.projects.all()]
            text = telemetry().render(parts.inbox, projects, now=parts.now())
        except Unavailable:
            text = telemetry().render_counted()
        return Response(text, content_type=CONTENT_TYPE_LATEST)
