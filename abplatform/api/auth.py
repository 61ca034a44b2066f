"""Who may do what: one matrix, asked before a view or a body is looked at."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import wraps
from typing import Any, TypeVar

from flask import current_app, g, request
from flask_smorest import Blueprint

from abplatform.bootstrap import Platform
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
    DEFINE = "define experiments, metrics, layers, holdouts, segments and behaviours"
    RUN = "start and stop experiments"
    MANAGE_KEYS = "manage keys"
    MANAGE_PROJECT = "edit the project"


MATRIX: Mapping[Ability, frozenset[KeyRole]] = {
    Ability.READ_SNAPSHOT: frozenset({"sdk", "admin"}),
    Ability.EVALUATE: frozenset({"sdk", "admin"}),
    Ability.SEND_EVENTS: frozenset({"sdk", "admin"}),
    Ability.READ: frozenset({"analyst", "experimenter", "reviewer", "admin"}),
    Ability.DEFINE: frozenset({"experimenter", "admin"}),
    Ability.RUN: frozenset({"experimenter", "admin"}),
    Ability.MANAGE_KEYS: frozenset({"admin"}),
    Ability.MANAGE_PROJECT: frozenset({"admin"}),
}


OF_PRODUCTS = frozenset({Ability.READ_SNAPSHOT, Ability.EVALUATE, Ability.SEND_EVENTS})
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1_000


def needs(ability: Ability, *, to: str | None = None, api_key_header: bool = False) -> Callable[[View], View]:
    """Let only callers through whose role has the ability, and say so in the API description.

    Args:
        ability: what the operation needs.
        to: what it does, for a refusal; by default the ability itself.
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
            api_key = request.headers.get(API_KEY_HEADER) if api_key_header else None
            g.caller = _admit(ability, api_key, to=to or ability)
            return view(*args, **kwargs)

        described = Blueprint.doc(security=security, **{"x-roles": sorted(MATRIX[ability])})(guarded)
        described.__doc__ = f"{inspect.cleandoc(view.__doc__ or '')}\n\nRoles: {roles}."
        return described

    return decorate


def _admit(ability: Ability, api_key: str | None, *, to: str) -> ApiKey:
    header = request.headers.get("Authorization")
    secret = api_key if api_key and not header else _read_secret(header)
    key = admission().find(secret, may_be_remembered=ability in OF_PRODUCTS)
    if key.role not in MATRIX[ability]:
        able = " or ".join(sorted(MATRIX[ability]))
        raise Forbidden(f"a key with the role {key.role} may not {to}; that takes the role {able}")
    return key


class Admission:
    """Finds the key whose secret came with a request; one per app.

    What products do many times a second is let through for `REMEMBERED_SECONDS` after the database was asked: a key
    that another process revokes stops working that much later. A key that was refused is not remembered.

    Args:
        parts: of this process.
        clock: seconds that never go back.
    """

    def __init__(self, parts: Platform, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._known: dict[str, tuple[ApiKey, float]] = {}

    def find(self, secret: str, *, may_be_remembered: bool) -> ApiKey:
        """The key, which is in force.

        Raises:
            Unauthenticated: it is none of ours.
            Unavailable: the database does not answer.
        """
        digest, asked_at = access.hash_secret(secret), self._clock()
        key = self._remembered(digest, asked_at) if may_be_remembered else None
        if key is not None:
            return key
        self._known.pop(digest, None)
        with self._parts.uow.reading() as work:
            key = access.authenticate(work, secret, now=self._parts.now())
        if may_be_remembered:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = key, asked_at + REMEMBERED_SECONDS
        return key

    def recall(self, header: str) -> ApiKey | None:
        """The key of an ``Authorization`` header, if the database was asked for it a moment ago; else None."""
        scheme, _, secret = header.partition(" ")
        return self._remembered(access.hash_secret(secret), self._clock()) if scheme == "Bearer" else None

    def forget(self) -> None:
        """Ask the database again from now on: a key was revoked."""
        self._known.clear()

    def _remembered(self, digest: str, now: float) -> ApiKey | None:
        key, until = self._known.get(digest, (None, 0.0))
        return key if now < until else None


def admission() -> Admission:
    """The admission of the present app."""
    found: Admission = current_app.extensions["abplatform_admission"]
    return found


def _read_secret(header: str | None) -> str:
    if not header:
        raise Unauthenticated("send an API key in the header: Authorization: Bearer KEY")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated("the Authorization header must be: Bearer KEY")
    return secret.strip()
