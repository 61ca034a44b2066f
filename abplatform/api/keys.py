"""API keys: made, listed, revoked. A secret is shown once and kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from flask.views import MethodView

from abplatform.api.arguments import Resource
from abplatform.api.auth import Ability, admission, needs
from abplatform.api.context import platform, project
from abplatform.api.idempotency import PARAMETER, Answer, answer_once
from abplatform.api.schemas.key import KeyDocument, KeySchema, NewKeyDocument, key_document
from abplatform.api.schemas.listing import page_of
from abplatform.services import access
from abplatform.storage.session import Work

resource = Resource("keys", __name__, url_prefix="/api/v1/keys", description="Who may call")


@resource.route("")
class Keys(MethodView):
    """All keys of the project."""

    @needs(Ability.MANAGE_KEYS)
    @resource.response(200, page_of(KeyDocument))
    def get(self) -> dict[str, Any]:
        """List keys, revoked ones included; the list is never cut."""
        with platform().uow.reading() as work:
            found = access.list_keys(work, project())
        return {"items": [key_document(key) for key in found], "next_cursor": None}

    @needs(Ability.MANAGE_KEYS)
    @resource.doc(parameters=[PARAMETER])
    @resource.arguments(KeySchema())
    @resource.response(201, NewKeyDocument)
    def post(self, wanted: Mapping[str, Any]) -> Response:
        """Make a key; its secret is in this answer and never again."""

        def create(work: Work) -> Answer:
            key, secret = access.create_key(work, project(), wanted["role"], name=wanted["name"], now=platform().now())
            return Answer(
                document=key_document(key) | {"secret": secret},
                headers={"Cache-Control": "no-store"},
                secrets=("secret",),
            )

        return answer_once(create)


@resource.route("/<key_id:key_id>")
class OneKey(MethodView):
    """One key."""

    @needs(Ability.MANAGE_KEYS)
    @resource.response(204)
    def delete(self, key_id: str) -> None:
        """Revoke a key, at once and for ever."""
        with platform().uow.begin() as work:
            access.revoke_key(work, project(), key_id, now=platform().now())
        admission().forget()
