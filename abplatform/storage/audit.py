"""The audit trail in the database: entries are added and read, never changed."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from abplatform.domain.audit import AuditEntry
from abplatform.storage.schema import audit_entry as table


class AuditTrail:
    """The entries of all projects, seen through one transaction: one is there if what it tells of was done."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, entry: AuditEntry) -> int:
        """Write an entry, and give its number: later ones are higher."""
        details = json.dumps(dict(entry.details), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        values = {"at": entry.at, "project": entry.project, "actor": entry.actor, "action": entry.action}
        statement = sa.insert(table).values(**values, details=details).returning(table.c.id)
        return int(self._connection.execute(statement).scalar_one())

    def all(self, project: str) -> tuple[AuditEntry, ...]:
        """The entries of a project, oldest first."""
        query = sa.select(table).where(table.c.project == project).order_by(table.c.id)
        return tuple(_build(row) for row in self._connection.execute(query))


def _build(row: Any) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        project=row.project,
        actor=row.actor,
        action=row.action,
        details=json.loads(row.details),
    )
