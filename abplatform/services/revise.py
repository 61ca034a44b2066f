"""What all changes of definitions have in common: they name fields, and the revision that they begin from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from abplatform.errors import InvalidInput, PreconditionFailed
from abplatform.storage.definitions import Definitions, Stored
from abplatform.storage.session import Work


class Keyed(Protocol):
    """A definition as its author writes it, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def key(self) -> str:
        """Name in its project."""


Definition = TypeVar("Definition", bound=Keyed)


def claim(work: Work, repository: Definitions[Stored], project: str, key: str, *, revision: int | None) -> Stored:
    """One definition, to be changed: from now on nobody else changes any of the project's, until the transaction ends.

    Args:
        work: the caller's transaction.
        repository: of ``work``.
        project, key: whose and which definition.
        revision: the one that the caller has read; None takes whatever is there.

    Raises:
        NotFound: there is no such project, or no such definition.
        PreconditionFailed: it has another revision by now.
    """
    work.projects.lock(project)
    stored = repository.get(project, key)
    if revision is not None and stored.revision != revision:
        raise PreconditionFailed(
            f"{key} has revision {stored.revision} by now, not {revision}; read it again, decide anew, and "
            "send the ETag of that answer"
        )
    return stored


def apply_changes(definition: Definition, changes: Mapping[str, Any]) -> Definition:
    """The definition with new values of the fields that are named; the key never changes.

    Raises:
        InvalidInput: naming what is no field, or the key.
    """
    names = {field.name for field in fields(definition)}
    errors = {name: ["is not a field that can be edited"] for name in changes if name not in names}
    if changes.get("key", definition.key) != definition.key:
        errors["key"] = ["cannot be changed"]
    if errors:
        raise InvalidInput(errors)
    return replace(definition, **changes)
