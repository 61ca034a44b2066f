"""Metrics: what is counted about a unit after its exposure."""

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
from abplatform.api.schemas.listing import PageQuery, VersionQuery, page_of
from abplatform.api.schemas.metric import MetricChanges, MetricDocument, MetricSchema, metric_document
from abplatform.domain.metric import Metric
from abplatform.services import define
from abplatform.services.make_version import make_version

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
    @resource.arguments(VersionQuery(), location="query")
    @resource.response(200, MetricDocument, headers=ETAG_HEADER)
    def get(self, query: Mapping[str, Any], key: str) -> Response:
        """Read a metric: the newest version of it, or an earlier one."""
        version = query["version"]
        if version is None:
            return _shelf.read(key)
        return _shelf.read(key, lambda work: work.metrics.get_version(project(), key, version))

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(MetricChanges(partial=True))
    @resource.response(200, MetricDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Edit the newest version of a metric, if no started experiment uses that."""
        return _shelf.edit(
            key, lambda work, revision: define.edit_metric(work, project(), key, changes, revision=revision)
        )

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a metric that no experiment uses, with all its versions."""
        _shelf.delete(key, lambda work, revision: define.delete_metric(work, project(), key, revision=revision))


@resource.route("/<key:key>/versions")
class Versions(MethodView):
    """All versions of a metric."""

    @needs(Ability.READ)
    @resource.response(200, page_of(MetricDocument))
    def get(self, key: str) -> dict[str, Any]:
        """List the versions of a metric, newest first; the list is never cut."""
        with platform().uow.reading() as work:
            found = work.metrics.versions(project(), key)
        return {"items": [metric_document(stored) for stored in found], "next_cursor": None}

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER, IF_MATCH_PARAMETER])
    @resource.arguments(MetricChanges(partial=True))
    @resource.response(201, MetricDocument, headers=ETAG_HEADER)
    def post(self, changes: Mapping[str, object], key: str) -> Response:
        """Make the next version of a metric; experiments that have started keep theirs."""
        return _shelf.make_next(
            key,
            lambda work, revision: make_version(work, project(), key, changes, revision=revision, now=platform().now()),
            lambda stored: url_for("metrics.OneMetric", key=key, version=stored.version),
        )
