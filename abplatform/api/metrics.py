"""Metrics: what is counted about a unit after its exposure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import ETAG_HEADER, IF_MATCH_PARAMETER, IF_NONE_MATCH_PARAMETER
from abplatform.api.context import platform, project
from abplatform.api.definitions import Shelf
from abplatform.api.idempotency import PARAMETER
from abplatform.api.schemas.listing import PageQuery, page_of
from abplatform.api.schemas.metric import MetricChanges, MetricDocument, MetricSchema, metric_document
from abplatform.domain.metric import Metric
from abplatform.services import define

resource = Resource("metrics", __name__, url_prefix="/api/v1/metrics", description="What is counted about a unit")

_shelf = Shelf(
    endpoint="metrics.OneMetric",
    repository=lambda work: work.metrics,
    documents=lambda _, metrics: [metric_document(stored) for stored in metrics],
)


@resource.route("")
class Metrics(MethodView):
    """All metrics of the project."""

    @needs(Ability.READ)
    @resource.arguments(PageQuery(), location="query")
    @resource.response(200, page_of(MetricDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List metrics, newest first."""
        return _shelf.page(query)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(MetricSchema())
    @resource.response(201, MetricDocument, headers=ETAG_HEADER)
    def post(self, metric: Metric) -> Response:
        """Define a metric."""
        return _shelf.create(lambda work: define.create_metric(work, project(), metric, now=platform().now()))


@resource.route("/<key:key>")
class OneMetric(MethodView):
    """One metric."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, MetricDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read a metric."""
        return _shelf.read(key)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(MetricChanges(partial=True))
    @resource.response(200, MetricDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Edit a metric that no started experiment uses."""
        return _shelf.edit(
            key, lambda work, revision: define.edit_metric(work, project(), key, changes, revision=revision)
        )

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a metric that no experiment uses."""
        _shelf.delete(key, lambda work, revision: define.delete_metric(work, project(), key, revision=revision))
