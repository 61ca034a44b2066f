"""Projects on the wire."""

from __future__ import annotations

from typing import Any

import msgspec

from abplatform.api.schemas.fields import Document, Strict, Text, WholeNumber, time_field
from abplatform.domain.access import Project


class ProjectChanges(Strict):
    """The fields of a project that an edit may name."""

    name = Text(metadata={"description": "for people"})
    time_zone = Text(metadata={"description": "IANA name, such as Asia/Shanghai; whose days calendar windows count"})


class ProjectDocument(ProjectChanges, Document):
    """A project as it stands."""

    key = Text()
    unit_type = Text(metadata={"description": "the type of the ids that calls and events give as `unit_id`"})
    revision = WholeNumber(metadata={"description": "grows with every change"})
    created_at = time_field("when it was made")


def project_document(project: Project) -> dict[str, Any]:
    """The document of a project."""
    document: dict[str, Any] = msgspec.to_builtins(project)
    return document
