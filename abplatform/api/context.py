"""What a view finds around it: the platform, and the caller whose key opened the door."""

from __future__ import annotations

from flask import current_app, g

from abplatform.bootstrap import Platform
from abplatform.domain.access import ApiKey


def platform() -> Platform:
    """The parts of this process."""
    parts: Platform = current_app.extensions["abplatform"]
    return parts


def caller() -> ApiKey:
    """The key of the present request; `abplatform.api.auth` sets it before a view runs."""
    key: ApiKey = g.caller
    return key


def project() -> str:
    """Key of the caller's project: nothing outside it exists for this request."""
    return caller().project
