"""Typed fields of a JSON object; what does not fit is a ValueError that names the path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .hashing import encode_text


class Fields:
    """The fields of one JSON object at a dotted path of a document; unknown fields are left alone."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: object, path: str) -> None:
        if not isinstance(values, Mapping):
            raise ValueError(f"{path or 'document'}: must be an object")
        self._values: Mapping[Any, Any] = values
        self._path = path

    def path(self, name: object) -> str:
        """Return the dotted path of a field."""
        return f"{self._path}.{name}" if self._path else str(name)

    def value(self, name: str) -> Any:
        """Return the value as it is, None if the field is absent."""
        return self._values.get(name)

    def text(self, name: str) -> str:
        """Return a string that is not empty and can be written as UTF-8."""
        value = self._required(name)
        if not encode_text(value, self.path(name)):
            raise ValueError(f"{self.path(name)}: must not be empty")
        return str(value)

    def integer(self, name: str, minimum: int = 0) -> int:
        """Return an integer of at least ``minimum``."""
        value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ValueError(f"{self.path(name)}: must be an integer of at least {minimum}")
        return value

    def object(self, name: str) -> Fields:
        """Return the fields of a nested object."""
        return Fields(self._required(name), self.path(name))

    def objects(self, name: str) -> list[Fields]:
        """Return the fields of each object in an array."""
        return [Fields(item, f"{self.path(name)}.{index}") for index, item in enumerate(self.array(name))]

    def members(self) -> Iterator[tuple[str, Fields]]:
        """Return each key with the fields of the object that it names."""
        for key, value in self.items():
            yield key, Fields(value, self.path(key))

    def items(self) -> Iterator[tuple[str, Any]]:
        """Return each key with its value as it is."""
        for key, value in self._values.items():
            encode_text(key, self.path(key))
            yield key, value

    def array(self, name: str) -> list[Any] | tuple[Any, ...]:
        """Return an array."""
        value = self._required(name)
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{self.path(name)}: must be an array")
        return value

    def _required(self, name: str) -> Any:
        if name not in self._values:
            raise ValueError(f"{self.path(name)}: is missing")
        return self._values[name]
