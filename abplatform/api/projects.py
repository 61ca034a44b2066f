"""Projects: a key belongs to one, and sees no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify
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
from abplatform.api.schemas.listing import page_of
from abplatform.api.schemas.project import ProjectChanges, ProjectDocument, project_document
from abplatform.domain.access import Project
from abplatform.errors import NotFound
from abplatform.services.edit_project import edit_project
from abplatform.storage.session import Work

resource = Resource("projects", __name__, url_prefix="/api/v1/projects", description="Environments of products")


@resource.route("")
class Projects(MethodView):
    """All projects that the caller may see."""

    @needs(Ability.READ)
    @resource.response(200, page_of(ProjectDocument))
    def get(self) -> dict[str, Any]:
        """List projects: the one that the key belongs to."""
        with platform().uow.reading() as work:
            found = work.projects.get(project())
        return {"items": [project_document(found)], "next_cursor": None}


@resource.route("/<key:key>")
class OneProject(MethodView):
    """One project."""

    @needs(Ability.READ)
    @resource.doc(parameters=[IF_NONE_MATCH_PARAMETER])
    @resource.response(200, ProjectDocument, headers=ETAG_HEADER)
    def get(self, key: str) -> Response:
        """Read a project."""
        with platform().uow.reading() as work:
            return _shown(_own(work, key))

    @needs(Ability.MANAGE_PROJECT)
    @resource.doc(parameters=[IF_MATCH_PARAMETER])
    @resource.arguments(ProjectChanges())
    @resource.response(200, ProjectDocument, headers=ETAG_HEADER)
    def patch(self, changes: Mapping[str, Any], key: str) -> Response:
        """Edit a project; its time zone stays while an experiment counts calendar days."""
        with platform().uow.begin() as work:
            found = _own(work, key)
            check_if_match(_tag(found))
            return _shown(edit_project(work, key, changes, revision=found.revision))


def _own(work: Work, key: str) -> Project:
    if key != project():
        raise NotFound(f"there is no project {key!r}")
    return work.projects.get(key)


def _shown(found: Project) -> Response:
    return tagged(jsonify(project_document(found)), _tag(found))


def _tag(found: Project) -> str:
    return revision_tag(found.revision, found.created_at)
