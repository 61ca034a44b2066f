"""Who may do what: one matrix, asked before a view or a body is looked at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import wraps
from typing import Any, TypeVar

from flask import g, request
from flask_smorest import Blueprint

from abplatform.api.context import platform
from abplatform.domain.access import ApiKey, KeyRole
from abplatform.errors import Forbidden, Unauthenticated
from abplatform.services import access

View = TypeVar("View", bound=Callable[..., Any])

SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key of the project, as `abplatform keys create` or `POST /keys` shows it once.",
}
API_KEY_HEADER = "X-API-Key"
API_KEY_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": API_KEY_HEADER,
    "description": "The same key, for clients of OpenFeature's protocol that cannot send another header.",
}


class Ability(StrEnum):
    """What an operation needs."""

    READ_SNAPSHOT = "read the snapshot"
    EVALUATE = "evaluate assignments and flags"
    SEND_EVENTS = "send events"
    READ = "read definitions and results"
    DEFINE = "define experiments, metrics, layers, holdouts and segments"
    RUN = "start and stop experiments"
    MANAGE_KEYS = "manage keys"


MATRIX: Mapping[Ability, frozenset[KeyRole]] = {
    Ability.READ_SNAPSHOT: frozenset({"sdk", "admin"}),
    Ability.EVALUATE: frozenset({"sdk", "admin"}),
    Ability.SEND_EVENTS: frozenset({"sdk", "admin"}),
    Ability.READ: frozenset({"analyst", "experimenter", "reviewer", "admin"}),
    Ability.DEFINE: frozenset({"experimenter", "admin"}),
    Ability.RUN: frozenset({"experimenter", "admin"}),
    Ability.MANAGE_KEYS: frozenset({"admin"}),
}


def needs(ability: Ability, *, api_key_header: bool = False) -> Callable[[View], View]:
    """Let only callers through whose role has the ability, and say so in the API description.

    Args:
        ability: what the operation needs.
        api_key_header: whether the key may also come in `API_KEY_HEADER`.

    Raises (when the view is called):
        Unauthenticated: without a key that is known and in force.
        Forbidden: if the key's role may not do this.
    """
    roles = ", ".join(sorted(MATRIX[ability]))
    schemes = ("key", "api_key") if api_key_header else ("key",)
    security: list[dict[str, list[str]]] = [{name: []} for name in schemes]

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            g.caller = _admit(ability, request.headers.get(API_KEY_HEADER) if api_key_header else None)
            return view(*args, **kwargs)

        described = Blueprint.doc(security=security, **{"x-roles": sorted(MATRIX[ability])})(guarded)
        described.__doc__ = f"{inspect.cleandoc(view.__doc__ or '')}\n\nRoles: {roles}."
        return described

    return decorate


def _admit(ability: Ability, api_key: str | None) -> ApiKey:
    parts = platform()
    header = request.headers.get("Authorization")
    secret = api_key if api_key and not header else _read_secret(header)
    with parts.uow.reading() as work:
        key = access.authenticate(work, secret, now=parts.now())
    if key.role not in MATRIX[ability]:
        raise Forbidden(f"a key with the role {key.role} may not {ability}")
    return key


def _read_secret(header: str | None) -> str:
    if not header:
        raise Unauthenticated("send an API key in the header: Authorization: Bearer KEY")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated("the Authorization header must be: Bearer KEY")
    return secret.strip()
