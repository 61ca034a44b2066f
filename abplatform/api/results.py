"""Results: scorecards as data."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

import msgspec
from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.context import platform, project
from abplatform.api.schemas.listing import LooksQuery, ResultsQuery
from abplatform.domain.scorecard import Scorecard

resource = Resource("results", __name__, url_prefix="/api/v1/experiments", description="What was found, and advised")

_REFERENCES, _COMPONENTS = msgspec.json.schema_components([Scorecard], ref_template="#/components/schemas/{name}")
COMPONENTS = {
    name: {**component, "description": cleandoc(component.get("description", ""))}
    for name, component in _COMPONENTS.items()
}
_LOOKS = {
    "type": "object",
    "required": ["items", "next_cursor"],
    "properties": {
        "items": {"type": "array", "items": _REFERENCES[0]},
        "next_cursor": {"type": "null"},
    },
}


@resource.route("/<key:key>/results")
class Results(MethodView):
    """The present result of an experiment."""

    @needs(Ability.READ)
    @resource.arguments(ResultsQuery(), location="query")
    @resource.response(200, _REFERENCES[0])
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Read the scorecard, with every event that was accepted before this call."""
        return _json(platform().results(project(), key, **query))


@resource.route("/<key:key>/results/looks")
class Looks(MethodView):
    """The looks at an experiment."""

    @needs(Ability.READ)
    @resource.arguments(LooksQuery(), location="query")
    @resource.response(200, _LOOKS)
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """List all looks of a phase, oldest first, as they were recorded; the list is never cut."""
        return _json({"items": platform().looks(project(), key, **query), "next_cursor": None})


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), content_type="application/json")
