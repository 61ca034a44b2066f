"""Experiments: define, read, edit."""

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
from abplatform.api.schemas.experiment import (
    ExperimentChanges,
    ExperimentDocument,
    ExperimentSchema,
    experiment_document,
)
from abplatform.api.schemas.listing import ExperimentQuery, page_of
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.services import define

resource = Resource("experiments", __name__, url_prefix="/api/v1/experiments", description="What is tested, on whom")

shelf = Shelf(
    endpoint="experiments.OneExperiment",
    repository=lambda work: work.experiments,
    documents=lambda _, experiments: [experiment_document(experiment) for experiment in experiments],
)


@resource.route("")
class Experiments(MethodView):
    """All experiments of the project."""

    @needs(Ability.READ)
    @resource.arguments(ExperimentQuery(), location="query")
    @resource.response(200, page_of(ExperimentDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List experiments, newest first."""
        return shelf.page(query)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(ExperimentSchema())
    @resource.response(201, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, definition: ExperimentDefinition) -> Response:
        """Define an experiment; it begins as a draft."""
        return shelf.create(lambda work: define.create_experiment(work, project(), definition, now=platform().now()))


@resource.route("/<key:key>")
class OneExperiment(MethodView):
    """One experiment."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read an experiment."""
        return shelf.read(key)

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(ExperimentChanges(partial=True))
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Edit an experiment.

        A draft: all but its key. From the start on: its name and hypothesis only; what would move units needs a new
        phase (`POST /experiments/{key}/phase`), or a ramp. A field that is named is replaced whole.
        """
        return shelf.edit(
            key, lambda work, revision: define.edit_experiment(work, project(), key, changes, revision=revision)
        )

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a draft."""
        shelf.delete(key, lambda work, revision: define.delete_experiment(work, project(), key, revision=revision))
