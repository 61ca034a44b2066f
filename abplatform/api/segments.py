"""Segments: lists of values or of units that targeting names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import ListResource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import ETAG_HEADER, IF_MATCH_PARAMETER, IF_NONE_MATCH_PARAMETER
from abplatform.api.context import platform, project
from abplatform.api.definitions import Shelf
from abplatform.api.idempotency import PARAMETER
from abplatform.api.schemas.listing import PageQuery, page_of
from abplatform.api.schemas.segment import (
    SegmentChanges,
    SegmentDocument,
    SegmentSchema,
    WholeSegmentDocument,
    outline_document,
    segment_document,
)
from abplatform.domain.segment import SegmentRequest
from abplatform.services import segment as segments

resource = ListResource("segments", __name__, url_prefix="/api/v1/segments", description="Lists that targeting names")

_shelf = Shelf(
    endpoint="segments.OneSegment",
    repository=lambda work: work.segments,
    documents=lambda _, found: [segment_document(stored) for stored in found],
)


@resource.route("")
class Segments(MethodView):
    """All segments of the project."""

    @needs(Ability.READ)
    @resource.arguments(PageQuery(), location="query")
    @resource.response(200, page_of(SegmentDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List segments, newest first, without their members."""
        with platform().uow.reading() as work:
            page = work.segments.outlines(project(), **query)
        return {"items": [outline_document(item) for item in page.items], "next_cursor": page.next_cursor}

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(SegmentSchema())
    @resource.response(201, WholeSegmentDocument, headers=ETAG_HEADER)
    def post(self, request: SegmentRequest) -> Response:
        """Make a segment; ids of units are kept as salted digests only."""
        return _shelf.create(lambda work: segments.create_segment(work, project(), request, now=platform().now()))


@resource.route("/<key:key>")
class OneSegment(MethodView):
    """One segment."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, WholeSegmentDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read a segment."""
        return _shelf.read(key)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(SegmentChanges(partial=True))
    @resource.response(200, WholeSegmentDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Rename a segment, or replace its members whole.

        Members stay while an experiment that depends on them is running, paused or closed.
        """
        return _shelf.edit(
            key, lambda work, revision: segments.edit_segment(work, project(), key, changes, revision=revision)
        )

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a segment that at most archived experiments name."""
        _shelf.delete(key, lambda work, revision: segments.delete_segment(work, project(), key, revision=revision))
