"""Templates of metrics: definitions to begin from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, needs
from abplatform.api.context import platform, project
from abplatform.api.idempotency import PARAMETER, Answer, answer_once
from abplatform.api.schemas.template import (
    InstalledDocument,
    InstallRequest,
    InstallSchema,
    TemplateDocument,
    TemplateQuery,
    TemplatesDocument,
    TemplatesQuery,
    installed_document,
    template_document,
)
from abplatform.domain.suggestions import suggest
from abplatform.domain.templates import TEMPLATES, choose_set
from abplatform.errors import NotFound
from abplatform.services.install import install_templates
from abplatform.storage.session import Work

resource = Resource(
    "templates", __name__, url_prefix="/api/v1/metric-templates", description="Definitions of metrics to begin from"
)


@resource.route("")
class Templates(MethodView):
    """All templates."""

    @needs(Ability.READ)
    @resource.arguments(TemplatesQuery(), location="query")
    @resource.response(200, TemplatesDocument)
    def get(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """List templates of metrics, with the events that they expect."""
        chosen = TEMPLATES.values() if query["set"] is None else choose_set(query["set"])
        return {"items": [template_document(each, query["lang"]) for each in chosen]}


@resource.route("/<key:key>")
class OneTemplate(MethodView):
    """One template."""

    @needs(Ability.READ)
    @resource.arguments(TemplateQuery(), location="query")
    @resource.response(200, TemplateDocument)
    def get(self, query: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Read a template of a metric."""
        if key not in TEMPLATES:
            raise NotFound(f"there is no template {key!r}{suggest(key, TEMPLATES)}")
        return template_document(TEMPLATES[key], query["lang"])


@resource.route("/install")
class Installation(MethodView):
    """Templates become metrics."""

    @needs(Ability.DEFINE)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(InstallSchema())
    @resource.response(201, InstalledDocument)
    @resource.alt_response(200, schema=InstalledDocument, description="all metrics were there", success=True)
    def post(self, request: InstallRequest) -> Response:
        """Make metrics of templates, all or none; what is there with the same definition stays as it is."""

        def install(work: Work) -> Answer:
            installed = install_templates(
                work,
                project(),
                request.templates,
                now=platform().now(),
                language=request.language,
                prefix=request.prefix,
            )
            return Answer(document=installed_document(installed), headers={}, status=201 if installed.created else 200)

        return answer_once(install)
