"""Blueprints whose views get their input through the strict reader, and name the fields that are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn

import marshmallow
from flask import Request, g
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser

from abplatform.api.bodies import LARGEST_BODY, LARGEST_LIST_BODY
from abplatform.api.strict_json import read_json
from abplatform.errors import InvalidInput


class StrictParser(FlaskParser):
    """Reads bodies and query strings; unknown fields are refused in both."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None, "query": None}  # noqa: RUF012 - the base class has it so
    largest_body: ClassVar[int] = LARGEST_BODY

    def load_json(self, req: Request, schema: marshmallow.Schema) -> Any:  # noqa: ARG002
        """The value of the body; it stays at hand for the comparison of repeated requests."""
        g.json_body = read_json(req, most=self.largest_body).value
        return g.json_body

    def handle_error(self, error: marshmallow.ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Name the fields by dotted path."""
        raise invalid_input(error, below_location=True)


class Resource(Blueprint):
    """The views of one resource."""

    ARGUMENTS_PARSER = StrictParser()


class ListParser(StrictParser):
    """Reads bodies that hold long lists."""

    largest_body = LARGEST_LIST_BODY


class ListResource(Resource):
    """The views of a resource whose bodies hold long lists."""

    ARGUMENTS_PARSER = ListParser()


def invalid_input(error: marshmallow.ValidationError, *, below_location: bool = False) -> InvalidInput:
    """The fields that a schema refuses, by dotted path.

    Args:
        error: what the schema raised.
        below_location: whether the messages stand below the name of a location (``json``, ``query``).
    """
    messages: Any = error.messages
    if below_location and isinstance(messages, Mapping):
        messages = next(iter(messages.values()))
    errors: dict[str, list[str]] = {}
    for path, message in _flatten(messages, ()):
        errors.setdefault(path, []).append(message)
    return InvalidInput(errors)


def _flatten(messages: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(messages, Mapping):
        for name, below in messages.items():
            # marshmallow's name for an object as a whole.
            yield from _flatten(below, path if name == "_schema" else (*path, str(name)))
    elif isinstance(messages, (list, tuple)):
        for message in messages:
            yield from _flatten(message, path)
    else:
        yield ".".join(path), str(messages)
