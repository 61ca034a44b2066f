"""What all edits of definitions have in common: they name fields, and the revision that they begin from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from abplatform.errors import InvalidInput, PreconditionFailed


class Keyed(Protocol):
    """A definition as its author writes it, a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def key(self) -> str:
        """Name in its project."""


class Revised(Protocol):
    """Something that is kept with its revision."""

    @property
    def key(self) -> str:
        """Name in its project."""

    @property
    def revision(self) -> int:
        """Grows with every change."""


Definition = TypeVar("Definition", bound=Keyed)


def check_revision(current: Revised, revision: int) -> None:
    """Refuse to change what is no longer as the caller has read it.

    Raises:
        PreconditionFailed: ``current`` has another revision.
    """
    if current.revision != revision:
        raise PreconditionFailed(
            f"{current.key} has revision {current.revision} by now, not {revision}; read it again and decide anew"
        )


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
