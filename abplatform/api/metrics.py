"""Metrics: what is counted about a unit after its exposure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, url_for
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import (
    ETAG_HEADER,
    IF_MATCH_PARAMETER,
    IF_NONE_MATCH_PARAMETER,
    check_if_match,
    revision_tag,
    tagged,
)
from abplatform.api.context import platform, project
from abplatform.api.idempotency import PARAMETER, Created, create_once
from abplatform.api.schemas.listing import PageQuery, page_of
from abplatform.api.schemas.metric import MetricChanges, MetricDocument, MetricSchema, metric_document
from abplatform.domain.metric import Metric
from abplatform.services import define
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import Work

resource = Resource("metrics", __name__, url_prefix="/api/v1/metrics", description="What is counted about a unit")


@resource.route("")
class Metrics(MethodView):
    """All metrics of the project."""

    @needs(Ability.READ)
    @resource.arguments(PageQuery(), location="query")
    @resource.response(200, page_of(MetricDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List metrics, newest first."""
        with platform().uow.reading() as work:
            page = work.metrics.page(project(), **query)
        return {"items": [metric_document(item) for item in page.items], "next_cursor": page.next_cursor}

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(MetricSchema())
    @resource.response(201, MetricDocument, headers=ETAG_HEADER)
    def post(self, metric: Metric) -> Response:
        """Define a metric."""

        def create(work: Work) -> Created:
            stored = define.create_metric(work, project(), metric, now=platform().now())
            place = url_for("metrics.OneMetric", key=stored.key)
            return Created(document=metric_document(stored), headers={"ETag": f'"{_tag(stored)}"', "Location": place})

        return create_once(create)


@resource.route("/<key:key>")
class OneMetric(MethodView):
    """One metric."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, MetricDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read a metric."""
        with platform().uow.reading() as work:
            return _shown(work.metrics.get(project(), key))

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(MetricChanges(partial=True))
    @resource.response(200, MetricDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Edit a metric that no started experiment uses."""
        with platform().uow.begin() as work:
            stored = _expected(work, key)
            return _shown(define.edit_metric(work, project(), key, changes, revision=stored.revision))

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a metric that no experiment uses."""
        with platform().uow.begin() as work:
            stored = _expected(work, key)
            define.delete_metric(work, project(), key, revision=stored.revision)


def _expected(work: Work, key: str) -> StoredMetric:
    stored = work.metrics.get(project(), key)
    check_if_match(_tag(stored))
    return stored


def _shown(stored: StoredMetric) -> Response:
    return tagged(jsonify(metric_document(stored)), _tag(stored))


def _tag(stored: StoredMetric) -> str:
    return revision_tag(stored.revision, stored.created_at)
