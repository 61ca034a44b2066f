"""Answers that are documents of the domain, written as they are."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

import msgspec
from flask import Response


def describe_documents(*types: type) -> tuple[Sequence[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The OpenAPI references of documents, in their order, and the components that they refer to by name."""
    references, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    described = {
        name: {**component, "description": cleandoc(component.get("description", ""))}
        for name, component in components.items()
    }
    return references, described


def answer_encoded(value: object) -> Response:
    """An answer that holds a document, or several."""
    return Response(msgspec.json.encode(value), content_type="application/json")
