"""Answers to requests with an Idempotency-Key, so that the same request gets the same answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from abplatform.storage.rows import insert_new
from abplatform.storage.schema import idempotency as table


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a request got.

    Attributes:
        request_hash: of the request's body: the same key with another body is a mistake of the caller.
        headers: those that belong to the answer, such as ``ETag`` and ``Location``.
    """

    request_hash: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    created_at: datetime


class Replies:
    """The remembered answers of all projects, seen through one transaction.

    An answer that holds a secret must not come here: it would be kept in plain.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find(self, project: str, key: str, request: str) -> Reply | None:
        """The answer that the request got; ``request`` is method and path."""
        is_same = sa.and_(table.c.project == project, table.c.key == key, table.c.request == request)
        row = self._connection.execute(sa.select(table).where(is_same)).one_or_none()
        if row is None:
            return None
        return Reply(
            request_hash=row.request_hash,
            status=row.status,
            headers=json.loads(row.headers),
            body=row.body,
            created_at=row.created_at,
        )

    def add(self, project: str, key: str, request: str, reply: Reply) -> None:
        """Remember an answer, in the transaction that makes what it tells of.

        Raises:
            AlreadyExists: the same request was answered meanwhile.
        """
        values = {
            "project": project,
            "key": key,
            "request": request,
            "request_hash": reply.request_hash,
            "status": reply.status,
            "headers": json.dumps(dict(reply.headers)),
            "body": reply.body,
            "created_at": reply.created_at,
        }
        insert_new(self._connection, table, values, name=f"an answer to {request} with this Idempotency-Key")

    def forget(self, *, before: datetime) -> int:
        """Delete the answers from before a time; gives their number."""
        return self._connection.execute(sa.delete(table).where(table.c.created_at < before)).rowcount
