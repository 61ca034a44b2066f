"""Layers: experiments that exclude each other share one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.conditional import ETAG_HEADER, IF_MATCH_PARAMETER, IF_NONE_MATCH_PARAMETER
from abplatform.api.context import platform, project
from abplatform.api.definitions import Document, Shelf
from abplatform.api.idempotency import PARAMETER
from abplatform.api.schemas.layer import LayerChanges, LayerDocument, LayerSchema, layer_document
from abplatform.api.schemas.listing import PageQuery, page_of
from abplatform.domain.layer import Layer
from abplatform.services import arrange
from abplatform.storage.layers import StoredLayer
from abplatform.storage.session import Work

resource = Resource("layers", __name__, url_prefix="/api/v1/layers", description="Who shares the units")


def _documents(work: Work, layers: Sequence[StoredLayer]) -> list[Document]:
    experiments = work.experiments.all(project())
    return [layer_document(stored, experiments) for stored in layers]


def _occupancy(document: Document) -> str:
    shown = json.dumps([document["free"], document["experiments"]])
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


_shelf = Shelf(endpoint="layers.OneLayer", repository=lambda work: work.layers, documents=_documents, state=_occupancy)


@resource.route("")
class Layers(MethodView):
    """All layers of the project."""

    @needs(Ability.READ)
    @resource.arguments(PageQuery(), location="query")
    @resource.response(200, page_of(LayerDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List layers, newest first."""
        return _shelf.page(query)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(LayerSchema())
    @resource.response(201, LayerDocument, headers=ETAG_HEADER)
    def post(self, layer: Layer) -> Response:
        """Make a layer."""
        return _shelf.create(lambda work: arrange.create_layer(work, project(), layer, now=platform().now()))


@resource.route("/<key:key>")
class OneLayer(MethodView):
    """One layer."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, LayerDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read a layer, and who holds how much of it."""
        return _shelf.read(key)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(LayerChanges(partial=True))
    @resource.response(200, LayerDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Edit a layer; its unit type stays once an experiment in it has started, or a holdout names it."""
        return _shelf.edit(
            key, lambda work, revision: arrange.edit_layer(work, project(), key, changes, revision=revision)
        )

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a layer that no experiment and no holdout names."""
        _shelf.delete(key, lambda work, revision: arrange.delete_layer(work, project(), key, revision=revision))
