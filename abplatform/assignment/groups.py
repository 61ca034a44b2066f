"""Saved groups: lists kept once, which conditions name. The wire format is in docs/assignment.md."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from .fields import Fields
from .hashing import decode_digest, salt_prefix
from .logic import Test
from .operators import BUILDERS
from .values import is_json, kind

FORMS = ("values", "sha256")
_SCALARS = frozenset({"string", "number", "boolean"})


class Group(NamedTuple):
    """A saved group.

    Attributes:
        contains: tells whether a JSON value, or an element of an array, is a member.
    """

    contains: Test


def decode_group(fields: Fields) -> Group:
    """Read a group in one of its two forms, ``values`` or ``salt`` with ``sha256``; other fields are left alone.

    Raises:
        ValueError: a field is missing or malformed; the message begins with its path: ``groups.vip.values.2: ...``.
    """
    forms = [name for name in FORMS if fields.value(name) is not None]
    if len(forms) != 1:
        raise ValueError(f"{fields.path('values')}: either values or sha256 must be given")
    return Group(_listed(fields) if forms == ["values"] else _hashed(fields))


def _listed(fields: Fields) -> Test:
    values = fields.array("values")
    for index, value in enumerate(values):
        if kind(value) not in _SCALARS or not is_json(value):
            raise ValueError(f"{fields.path('values')}.{index}: must be a string, a finite number or a boolean")
    return BUILDERS["$in"](values)


def _hashed(fields: Fields) -> Test:
    prefix = salt_prefix(fields.text("salt"))
    path = fields.path("sha256")
    # As bytes, since a group may hold many thousands of units.
    digests = frozenset(decode_digest(text, f"{path}.{index}") for index, text in enumerate(fields.array("sha256")))

    def member(value: object) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return sha256(prefix + value.encode()).digest() in digests
        except UnicodeEncodeError:
            # A string with a lone surrogate is no id.
            return False

    return lambda value: any(map(member, value)) if isinstance(value, (list, tuple)) else member(value)
