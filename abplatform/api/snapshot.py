"""The snapshot: what evaluators poll."""

from __future__ import annotations

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import ETAG_HEADER, IF_NONE_MATCH_PARAMETER, tagged
from abplatform.api.context import platform, project
from abplatform.services import publish

resource = Resource("snapshot", __name__, url_prefix="/api/v1/snapshot", description="What evaluators poll")


@resource.route("")
class Snapshot(MethodView):
    """The published snapshot of the project."""

    @needs(Ability.READ_SNAPSHOT)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, {"type": "object", "description": "see docs/assignment.md"}, headers=ETAG_HEADER)
    @resource.alt_response(304, description="the caller has the current version", success=True)
    def get(self) -> Response:
        """Read the snapshot; for servers only, since it shows rules and payloads."""
        with platform().uow.reading() as work:
            published = publish.read_snapshot(work, project())
        return tagged(Response(published.document, content_type="application/json"), published.etag)
