"""Every refusal that the platform speaks, as one tree with stable codes.

    AbplatformError
    |-- InvalidInput          VALIDATION_FAILED     a value is wrong; ``errors`` names each field
    |-- Unreadable            UNREADABLE            the body is not what it says it is
    |-- TooLarge              TOO_LARGE             a body or a count passes its limit
    |-- UnsupportedMedia      UNSUPPORTED_MEDIA     a content type or encoding that nobody here reads
    |-- Unauthenticated       UNAUTHENTICATED       no key, or none that is known
    |-- Forbidden             FORBIDDEN             a known key whose role may not do this
    |-- NotFound              NOT_FOUND             nothing of that name in this project
    |   `-- SnapshotExpired   SNAPSHOT_EXPIRED      an earlier state of the lake that is no longer kept
    |-- Conflict              CONFLICT              the present state does not allow it
    |   |-- AlreadyExists     ALREADY_EXISTS
    |   |-- IllegalTransition ILLEGAL_TRANSITION    the life cycle has no such step
    |   |-- InUse             IN_USE                something that runs depends on it
    |   |-- LayerFull         LAYER_FULL            the layer has too few free slots
    |   |-- NotAnalysable     NOT_ANALYSABLE        there is nothing yet that a result could be about
    |   `-- ReviewRequired    REVIEW_REQUIRED       a second person has to approve first
    |-- PreconditionFailed    PRECONDITION_FAILED   the ETag in If-Match is no longer the current one
    |-- PreconditionRequired  PRECONDITION_REQUIRED an edit came without If-Match
    |-- IdempotencyMismatch   IDEMPOTENCY_MISMATCH  an Idempotency-Key came back with another body
    |-- Unavailable           UNAVAILABLE           the database or the disk does not answer; try again
    `-- StartRefused          START_REFUSED         the process must not start like this
        |-- BadSetting        BAD_SETTING
        `-- SchemaOutdated    SCHEMA_OUTDATED

The core (``assignment``, ``stats``) raises ``ValueError`` that names the parameter. ``api/problems.py`` alone
turns this tree into HTTP; the command line prints the message as one line, and wrong fields as one line each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class AbplatformError(Exception):
    """A refusal with a stable ``code`` and a sentence for people.

    Args:
        detail: one sentence that says what is wrong and, where it helps, what to do next.
    """

    code: ClassVar[str] = "ERROR"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidInput(AbplatformError, ValueError):
    """One or more fields are wrong.

    Args:
        errors: messages by dotted path, for example ``{"variants.0.weight": ["must be positive"]}``.
        detail: a sentence for people; by default the first field and its message.

    Attributes:
        sentences: all that is wrong, each by itself; the sentence for people where one was given.
    """

    code = "VALIDATION_FAILED"

    def __init__(self, errors: Mapping[str, Sequence[str]], detail: str | None = None) -> None:
        self.errors: dict[str, list[str]] = {path: list(messages) for path, messages in errors.items()}
        each = tuple(
            f"{path}: {message}" if path else message for path, messages in self.errors.items() for message in messages
        )
        self.sentences: tuple[str, ...] = (detail,) if detail else each or ("invalid",)
        further = len(self.sentences) - 1
        tail = f" (and {further} further {'error' if further == 1 else 'errors'})" if further else ""
        super().__init__(f"{self.sentences[0]}{tail}")


class Unreadable(AbplatformError):
    """The bytes of a request cannot be read as what they claim to be."""

    code = "UNREADABLE"


class TooLarge(AbplatformError):
    """A body, an unpacked body or a count passes its documented limit."""

    code = "TOO_LARGE"


class UnsupportedMedia(AbplatformError):
    """The content type or the content encoding is not one that is read here."""

    code = "UNSUPPORTED_MEDIA"


class Unauthenticated(AbplatformError):
    """There is no API key, or none that is known and in force."""

    code = "UNAUTHENTICATED"


class Forbidden(AbplatformError):
    """The key is known, but its role may not do this."""

    code = "FORBIDDEN"


class NotFound(AbplatformError):
    """Nothing of that name exists in this project."""

    code = "NOT_FOUND"


class SnapshotExpired(NotFound):
    """The lake no longer keeps the earlier state that was asked for."""

    code = "SNAPSHOT_EXPIRED"


class Conflict(AbplatformError):
    """The request is sound, but the present state does not allow it."""

    code = "CONFLICT"


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class IllegalTransition(Conflict):
    """The life cycle of an experiment has no such step from where it stands."""

    code = "ILLEGAL_TRANSITION"


class InUse(Conflict):
    """Something that has started depends on it, so it cannot change."""

    code = "IN_USE"


class LayerFull(Conflict):
    """A shared layer has fewer free slots than an experiment needs; the sentence says how much is free."""

    code = "LAYER_FULL"


class NotAnalysable(Conflict):
    """There is nothing yet that a result could be about."""

    code = "NOT_ANALYSABLE"


class ReviewRequired(Conflict):
    """A second person has to approve before this may happen."""

    code = "REVIEW_REQUIRED"


class PreconditionFailed(AbplatformError):
    """Someone else changed the resource since it was read."""

    code = "PRECONDITION_FAILED"


class PreconditionRequired(AbplatformError):
    """An edit must say which version it edits."""

    code = "PRECONDITION_REQUIRED"


class IdempotencyMismatch(AbplatformError):
    """The same Idempotency-Key came with another body."""

    code = "IDEMPOTENCY_MISMATCH"


class Unavailable(AbplatformError):
    """A part that this depends on does not answer now; the same request may succeed later.

    Args:
        detail: for whoever asked.
        cause: for those who run the platform: which part, where, and what was said there.
    """

    code = "UNAVAILABLE"

    def __init__(self, detail: str, *, cause: str = "") -> None:
        super().__init__(detail)
        self.cause = cause


class InboxFull(AbplatformError):
    """More events wait to be sealed than the inbox may hold; nothing of the request was stored."""

    code = "INBOX_FULL"


class StartRefused(AbplatformError):
    """The process must not start like this; the message says what to do."""

    code = "START_REFUSED"


class BadSetting(StartRefused):
    """An ``ABPLATFORM_*`` variable is unknown or has a value that cannot be used."""

    code = "BAD_SETTING"


class SchemaOutdated(StartRefused):
    """The database has another schema than this version of the program.

    Args:
        detail: which one.
        is_older: whether an upgrade of the database helps.
    """

    code = "SCHEMA_OUTDATED"

    def __init__(self, detail: str, *, is_older: bool = False) -> None:
        super().__init__(detail)
        self.is_older = is_older
