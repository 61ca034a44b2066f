"""What may stand in a path: anything else names nothing, so it is a 404 before any view is asked."""

from __future__ import annotations

from flask import Flask
from werkzeug.routing import BaseConverter

from abplatform.domain.checks import KEY


class KeyConverter(BaseConverter):
    """Key of an experiment or metric."""

    regex = KEY.pattern


class KeyIdConverter(BaseConverter):
    """Id of an API key."""

    regex = "[0-9a-f]{16}"


CONVERTERS: dict[str, type[BaseConverter]] = {"key": KeyConverter, "key_id": KeyIdConverter}


def prepare_routing(app: Flask) -> None:
    """Add our converters, and no redirects: a path is right or it is not."""
    app.url_map.converters.update(CONVERTERS)
    app.url_map.merge_slashes = False


def path_schema(converter: BaseConverter) -> dict[str, str]:
    """What the API's description says of such a path parameter."""
    return {"type": "string", "pattern": f"^{converter.regex}$"}
