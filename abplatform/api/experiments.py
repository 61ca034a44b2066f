"""Experiments: define, read, edit, and the steps of their life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, request, url_for
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
from abplatform.api.schemas.experiment import (
    ExperimentChanges,
    ExperimentDocument,
    ExperimentSchema,
    experiment_document,
)
from abplatform.api.schemas.listing import ExperimentQuery, page_of
from abplatform.api.strict_json import read_optional_json
from abplatform.domain.experiment import Experiment, ExperimentDefinition, Step
from abplatform.errors import InvalidInput
from abplatform.services import define, publish
from abplatform.storage.session import Work

resource = Resource("experiments", __name__, url_prefix="/api/v1/experiments", description="What is tested, on whom")


@resource.route("")
class Experiments(MethodView):
    """All experiments of the project."""

    @needs(Ability.READ)
    @resource.arguments(ExperimentQuery(), location="query")
    @resource.response(200, page_of(ExperimentDocument))
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List experiments, newest first."""
        with platform().uow.reading() as work:
            page = work.experiments.page(project(), **query)
        return {"items": [experiment_document(item) for item in page.items], "next_cursor": page.next_cursor}

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(ExperimentSchema())
    @resource.response(201, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, definition: ExperimentDefinition) -> Response:
        """Define an experiment; it begins as a draft."""

        def create(work: Work) -> Created:
            experiment = define.create_experiment(work, project(), definition, now=platform().now())
            place = url_for("experiments.OneExperiment", key=experiment.key)
            return Created(
                document=experiment_document(experiment), headers={"ETag": f'"{_tag(experiment)}"', "Location": place}
            )

        return create_once(create)


@resource.route("/<key:key>")
class OneExperiment(MethodView):
    """One experiment."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read an experiment."""
        with platform().uow.reading() as work:
            return _shown(work.experiments.get(project(), key))

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(ExperimentChanges(partial=True))
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, object], key: str) -> Response:
        """Edit an experiment.

        A draft: all but its key. From the start on: its name and hypothesis only. A field that is named is replaced
        whole.
        """
        with platform().uow.begin() as work:
            experiment = _expected(work, key)
            return _shown(define.edit_experiment(work, project(), key, changes, revision=experiment.revision))

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.response(204)
    def delete(self, key: str) -> None:
        """Delete a draft."""
        with platform().uow.begin() as work:
            experiment = _expected(work, key)
            define.delete_experiment(work, project(), key, revision=experiment.revision)


@resource.route("/<key:key>/<any(start, pause, resume, stop, archive):step>")
class Steps(MethodView):
    """The life of an experiment."""

    @needs(Ability.RUN)
    @resource.doc(parameters=[{**IF_MATCH_PARAMETER, "required": False}])
    @resource.response(200, ExperimentDocument, headers=ETAG_HEADER)
    def post(self, key: str, step: Step) -> Response:
        """Take one step: start, pause, resume, stop or archive.

        Starting freezes the plan; every step publishes the next snapshot. No body is needed; with `If-Match` the
        step is taken only from that version.
        """
        if read_optional_json(request) != {}:
            raise InvalidInput({"": ["this call takes no fields; send no body or {}"]})
        with platform().uow.begin() as work:
            revision = _expected(work, key).revision if "If-Match" in request.headers else None
            return _shown(publish.take_step(work, project(), key, step, now=platform().now(), revision=revision))


def _expected(work: Work, key: str) -> Experiment:
    experiment = work.experiments.get(project(), key)
    check_if_match(_tag(experiment))
    return experiment


def _shown(experiment: Experiment) -> Response:
    return tagged(jsonify(experiment_document(experiment)), _tag(experiment))


def _tag(experiment: Experiment) -> str:
    return revision_tag(experiment.revision, experiment.created_at)
