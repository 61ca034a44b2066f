"""Behaviours: segments from what units did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, url_for
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import ETAG_HEADER, IF_MATCH_PARAMETER, IF_NONE_MATCH_PARAMETER
from abplatform.api.context import platform, project
from abplatform.api.definitions import Shelf
from abplatform.api.idempotency import PARAMETER
from abplatform.api.schemas.behaviour import (
    BehaviourChanges,
    BehaviourDocument,
    BehaviourSchema,
    behaviour_document,
)
from abplatform.api.schemas.listing import PageQuery, VersionQuery, page_of
from abplatform.domain.behaviour import Behaviour
from abplatform.services.make_behaviour import (
    add_behaviour_version,
    create_behaviour,
    draft_behaviour,
    draft_version,
)

resource = Resource("behaviours", __name__, url_prefix="/api/v1/behaviours", description="Segments from what units did")

_shelf = Shelf(
    endpoint="behaviours.OneBehaviour",
    repository=lambda work: work.behaviours,
    documents=lambda _, found: [behaviour_document(stored) for stored in found],
)


@resource.route("")
class Behaviours(MethodView):
    """All behaviours of the project."""

    @needs(Ability.READ)
    @resource.arguments(PageQuery(), location="query")
    @resource.response(200, page_of(BehaviourDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List behaviours in their newest versions, newest first."""
        return _shelf.page(query)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(BehaviourSchema())
    @resource.response(201, BehaviourDocument, headers=ETAG_HEADER)
    def post(self, behaviour: Behaviour) -> Response:
        """Define a behaviour; its quantiles become edges, by what units did until now."""
        draft = draft_behaviour(platform().past, project(), behaviour, now=platform().now())
        return _shelf.create(lambda work: create_behaviour(work, project(), draft))


@resource.route("/<key:key>")
class OneBehaviour(MethodView):
    """One behaviour."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.arguments(VersionQuery(), location="query")
    @resource.response(200, BehaviourDocument, headers=ETAG_HEADER)
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Read a behaviour: the newest version of it, or an earlier one."""
        version = query["version"]
        if version is None:
            return _shelf.read(key)
        return _shelf.read(key, lambda work: work.behaviours.get_version(project(), key, version))


@resource.route("/<key:key>/versions")
class BehaviourVersions(MethodView):
    """All versions of a behaviour."""

    @needs(Ability.READ)
    @resource.response(200, page_of(BehaviourDocument))
    def get(self, key: str) -> dict[str, Any]:
        """List the versions of a behaviour, newest first; the list is never cut."""
        with platform().uow.reading() as work:
            found = work.behaviours.versions(project(), key)
        return {"items": [behaviour_document(stored) for stored in found], "next_cursor": None}

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER, IF_MATCH_PARAMETER])
    @resource.arguments(BehaviourChanges(partial=True))
    @resource.response(201, BehaviourDocument, headers=ETAG_HEADER)
    def post(self, changes: Mapping[str, object], key: str) -> Response:
        """Make the next version of a behaviour: with changes, with edges as of now, or with both."""
        draft = draft_version(platform().past, project(), key, changes, now=platform().now())
        return _shelf.make_next(
            key,
            lambda work, revision: add_behaviour_version(work, project(), draft, revision=revision),
            lambda stored: url_for("behaviours.OneBehaviour", key=key, version=stored.version),
        )
