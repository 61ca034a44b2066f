"""Holdouts: a share of the units that gets none of the experiments, to see what all of them did together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import (
    ETAG_HEADER,
    IF_MATCH_PARAMETER,
    IF_NONE_MATCH_PARAMETER,
    MAY_MATCH_PARAMETER,
)
from abplatform.api.context import platform, project
from abplatform.api.definitions import Shelf
from abplatform.api.idempotency import PARAMETER
from abplatform.api.json_bodies import check_no_fields
from abplatform.api.schemas.holdout import HoldoutChanges, HoldoutDocument, HoldoutSchema, holdout_document
from abplatform.api.schemas.listing import PageQuery, page_of
from abplatform.domain.holdout import Holdout
from abplatform.services import hold_out

resource = Resource("holdouts", __name__, url_prefix="/api/v1/holdouts", description="Who gets none of the experiments")

_shelf = Shelf(
    endpoint="holdouts.OneHoldout",
    repository=lambda work: work.holdouts,
    documents=lambda _, holdouts: [holdout_document(stored) for stored in holdouts],
)


@resource.route("")
class Holdouts(MethodView):
    """All holdouts of the project."""

    @needs(Ability.READ)
    @resource.arguments(PageQuery(), location="query")
    @resource.response(200, page_of(HoldoutDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List holdouts, newest first, ended ones included."""
        return _shelf.page(query)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(HoldoutSchema())
    @resource.response(201, HoldoutDocument, headers=ETAG_HEADER)
    def post(self, holdout: Holdout) -> Response:
        """Make a holdout.

        It covers the experiments that start from now on. All but its name is fixed.
        """
        return _shelf.create(lambda work: hold_out.create_holdout(work, project(), holdout, now=platform().now()))


@resource.route("/<key:key>")
class OneHoldout(MethodView):
    """One holdout."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, HoldoutDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read a holdout."""
        return _shelf.read(key)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(HoldoutChanges(partial=True))
    @resource.response(200, HoldoutDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Rename a holdout."""
        return _shelf.edit(
            key, lambda work, revision: hold_out.edit_holdout(work, project(), key, changes, revision=revision)
        )

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a holdout under which no experiment has started."""
        _shelf.delete(key, lambda work, revision: hold_out.delete_holdout(work, project(), key, revision=revision))


@resource.route("/<key:key>/end")
class End(MethodView):
    """The end of a holdout."""

    @needs(Ability.RUN, to="end a holdout")
    @resource.doc(parameters=[MAY_MATCH_PARAMETER, PARAMETER])
    @resource.response(200, HoldoutDocument, headers=ETAG_HEADER)
    def post(self, key: str) -> Response:
        """End a holdout for good, and publish the next snapshot.

        Its units enter what they are eligible for. No body is needed.
        """
        check_no_fields(request)
        now = platform().now()
        return _shelf.take_step(
            key, lambda work, revision: hold_out.end_holdout(work, project(), key, now=now, revision=revision)
        )
