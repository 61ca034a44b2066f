"""Record what people do with raw ids on this machine."""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from abplatform.domain.audit import Actor, AuditEntry, check_actor
from abplatform.errors import AbplatformError, InvalidInput
from abplatform.storage.session import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Where something is put on record, and in whose name.

    Attributes:
        uow: where the trail is.
        project: key of the project.
        actor: who does it, and why.
        clock: the platform's.
    """

    uow: UnitOfWork
    project: str
    actor: Actor
    clock: Callable[[], datetime]

    def add(self, action: str, details: Mapping[str, Any]) -> int:
        """Write an entry; see `record_action`."""
        return record_action(self.uow, self.project, action, details, actor=self.actor, now=self.clock())


@contextmanager
def on_record(trail: Trail, action: str, details: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Do something between two entries: ``action`` before it, ``action-done`` or ``action-failed`` after it.

    Whatever ends it is on record, an interrupt too; only a process that is killed, or a database that does not answer
    any more, leaves the first entry alone.

    Args:
        trail: gets the entries.
        action: what is done.
        details: of the first entry; JSON values by name, never a raw unit id.

    Yields:
        The details of the second entry, to be filled. They have the number of the first one as ``entry``, and a
        failure's code, or the name of its class, as ``error``: messages may hold what stands in a table.

    Raises:
        Unavailable: the database does not answer before it; nothing was done then.
    """
    outcome: dict[str, Any] = {"entry": trail.add(action, details)}
    try:
        yield outcome
    except BaseException as error:
        kind = error.code if isinstance(error, AbplatformError) else type(error).__name__
        # What went wrong is told, even if it cannot be put on record.
        with suppress(Exception):
            trail.add(f"{action}-failed", {**outcome, "error": kind})
        raise
    trail.add(f"{action}-done", outcome)


def name_actor(name: str | None, *, reason: str | None) -> Actor:
    """Who runs this process, under the name that they give.

    Raises:
        InvalidInput: naming ``--actor`` or ``--reason``.
    """
    try:
        os_user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        os_user = f"uid {os.getuid()}"
    actor = Actor(os_user=os_user, name=os_user if name is None else name, reason=reason)
    check_actor(actor)
    return actor


def record_action(
    uow: UnitOfWork, project: str, action: str, details: Mapping[str, Any], *, actor: Actor, now: datetime
) -> int:
    """Write an entry of the audit trail; when this returns, it is on disk.

    Args:
        uow: where the trail is.
        project: key of the project.
        action: what is done.
        details: JSON values by name; never a raw unit id.
        actor: who does it, and why.
        now: when.

    Returns:
        The number of the entry.

    Raises:
        Unavailable: the database does not answer; nothing was written.
    """
    known = {"os_user": actor.os_user} | ({} if actor.reason is None else {"reason": actor.reason})
    entry = AuditEntry(at=now, project=project, actor=actor.name, action=action, details={**details, **known})
    with uow.begin() as work:
        return work.audit.add(entry)


def file_state(path: Path) -> tuple[int, int]:
    """Size and time of a file, to notice that it changes while it is read."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def describe_file(path: Path) -> dict[str, str]:
    """The name of a file and its SHA-256, in hexadecimal digits.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInput({"file": [f"{path} cannot be read: {error.strerror}"]}) from None
    return {"file": name_file(path), "sha256": digest}


def name_file(path: Path) -> str:
    """The name of a file as text that can be kept: names may hold any bytes."""
    return path.name.encode(errors="replace").decode()
