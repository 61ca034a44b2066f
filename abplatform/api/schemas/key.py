"""API keys on the wire."""

from __future__ import annotations

from typing import Any

import msgspec

from abplatform.api.schemas.fields import Document, Strict, Text, choice, time_field
from abplatform.domain.access import KEY_ROLES, ApiKey


class KeySchema(Strict):
    """What a new key is for."""

    name = Text(required=True, metadata={"description": "whose it is, for people"})
    role = Text(required=True, metadata=choice(KEY_ROLES))


class KeyDocument(Document):
    """A key without its secret."""

    id = Text()
    name = Text()
    role = Text(metadata=choice(KEY_ROLES))
    created_at = time_field("when it was made")
    revoked_at = time_field("from then on it opens nothing")


class NewKeyDocument(KeyDocument):
    """A key that was just made."""

    secret = Text(
        allow_none=True,
        metadata={"description": "shown this once; null when the answer is repeated for an Idempotency-Key"},
    )


def key_document(key: ApiKey) -> dict[str, Any]:
    """The document of a key."""
    document: dict[str, Any] = msgspec.to_builtins(key)
    del document["project"]
    return document
