"""Blueprints whose views get their input through the strict reader, and name the fields that are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn

import marshmallow
from flask import Request, g
from flask_smorest import Blueprint
from marshmallow import fields
from webargs.flaskparser import FlaskParser

from abplatform.api.bodies import LARGEST_BODY, LARGEST_LIST_BODY
from abplatform.api.json_bodies import read_json
from abplatform.api.schemas.fields import UNKNOWN_FIELD
from abplatform.domain.suggestions import Suggestions
from abplatform.errors import InvalidInput


class StrictParser(FlaskParser):
    """Reads bodies and query strings; unknown fields are refused in both."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None, "query": None}  # noqa: RUF012 - the base class has it so
    largest_body: ClassVar[int] = LARGEST_BODY

    def load_json(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002
        """The value of the body; it stays at hand for the comparison of repeated requests."""
        g.json_body = read_json(req, most=self.largest_body)
        return g.json_body

    def handle_error(
        self,
        error: marshmallow.ValidationError,
        req: Request,  # noqa: ARG002
        schema: marshmallow.Schema,
        **_: Any,
    ) -> NoReturn:
        """Name the fields by dotted path."""
        raise invalid_input(error, schema)


class Resource(Blueprint):
    """The views of one resource."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(_describe_all_parameters)


class ListParser(StrictParser):
    """Reads bodies that hold long lists."""

    largest_body = LARGEST_LIST_BODY


class ListResource(Resource):
    """The views of a resource whose bodies hold long lists."""

    ARGUMENTS_PARSER = ListParser()


def _describe_all_parameters(doc: dict[str, Any], info: Mapping[str, Any], **_: Any) -> dict[str, Any]:
    """Have the parameters that a view describes itself stand beside those of its arguments, not in their place."""
    own = info.get("manual_doc", {})
    if "parameters" in own:
        own["parameters"] = [*doc.get("parameters", ()), *own["parameters"]]
    return doc


def invalid_input(error: marshmallow.ValidationError, schema: marshmallow.Schema) -> InvalidInput:
    """The fields that a schema refuses, by dotted path; the first unknown ones with what may be meant.

    Args:
        error: what the schema raised; its messages stand below the name of a location (``json``, ``query``).
        schema: of the value at that location.
    """
    messages: Any = error.messages
    if isinstance(messages, Mapping):
        messages = next(iter(messages.values()))
    errors: dict[str, list[str]] = {}
    suggestions = Suggestions()
    for path, message in _flatten(messages, ()):
        hint = _suggest_field(schema, path, suggestions) if message == UNKNOWN_FIELD else ""
        errors.setdefault(".".join(path), []).append(message + hint)
    return InvalidInput(errors)


def _suggest_field(schema: marshmallow.Schema, path: tuple[str, ...], suggestions: Suggestions) -> str:
    """What may be meant by an unknown field: one of the object in which the path ends."""
    node: Any = schema
    for name in path[:-1]:
        field = node.inner if isinstance(node, fields.List) else node.fields[name]
        node = field.schema if isinstance(field, fields.Nested) else field
    # A field that is called "_schema" has no place of its own in marshmallow's messages: its path ends earlier.
    if not path or not isinstance(node, marshmallow.Schema) or path[-1] in node.load_fields:
        return ""
    return suggestions.suggest(path[-1], node.load_fields)


def _flatten(messages: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(messages, Mapping):
        for name, below in messages.items():
            # marshmallow's name for an object as a whole.
            yield from _flatten(below, path if name == "_schema" else (*path, str(name)))
    elif isinstance(messages, (list, tuple)):
        for message in messages:
            yield from _flatten(message, path)
    else:
        yield path, str(messages)
