"""Read the definition of a behaviour from a JSON document, as the HTTP API takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from abplatform.domain.behaviour import KINDS, Behaviour, FrequencyBins, MoneyBins, RecencyBins
from abplatform.domain.metric import Measure
from abplatform.domain.strict_json import parse_json
from abplatform.domain.suggestions import suggest
from abplatform.errors import InvalidInput, Unreadable

_PARTS: Mapping[str, type] = {
    "activity": Measure,
    "amount": Measure,
    "recency": RecencyBins,
    "frequency": FrequencyBins,
    "money": MoneyBins,
}
_DURATION = "must be an ISO 8601 duration of days, hours, minutes and seconds, such as P30D or PT12H"
_EXPECTED: Mapping[str, str] = {
    "array": "must be an array",
    "decimal": "must be a decimal number",
    "duration": _DURATION,
    "int": "must be a whole number",
    "object": "must be an object",
    "str": "must be a string",
}
"""What the HTTP API says, by what the reader expected."""
_TYPE = re.compile(r"Expected `(\w+)[^`]*`, got `\w+`")
_PLACE = re.compile(r"(?P<rule>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)


def read_behaviour(path: Path) -> Behaviour:
    """The behaviour that a file defines; whether it is sound `behaviour_check` says.

    Raises:
        InvalidInput: the file cannot be read, is no JSON, or holds something else; naming each field.
    """
    try:
        document = parse_json(path.read_bytes())
    except OSError as error:
        raise InvalidInput({"file": [f"{path} cannot be read: {error.strerror}"]}) from None
    except Unreadable as error:
        raise InvalidInput({"file": [error.detail]}) from None
    if not isinstance(document, dict):
        raise InvalidInput({"": ["must be an object"]})
    unknown = {path: ["is not a field here" + hint] for path, hint in _unknown(document)}
    missing = {name: ["is required"] for name in _required(Behaviour) if name not in document}
    if unknown or missing:
        raise InvalidInput(unknown | missing)
    try:
        return msgspec.convert(document, Behaviour)
    except msgspec.ValidationError as error:
        raise InvalidInput(_explain(str(error))) from None


def _unknown(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Paths that are no fields, with what may be meant."""
    yield from _unknown_in(document, Behaviour, "")
    for name, kind in _PARTS.items():
        part = document.get(name)
        if isinstance(part, list):
            for index, each in enumerate(part):
                yield from _unknown_in(each, kind, f"{name}.{index}.")
        else:
            yield from _unknown_in(part, kind, f"{name}.")


def _unknown_in(part: object, kind: type, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(part, Mapping) and is_dataclass(kind):
        names = [each.name for each in fields(kind)]
        yield from ((f"{path}{name}", suggest(name, names)) for name in part if name not in names)


def _required(kind: Any) -> Iterator[str]:
    return (each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING)


def _explain(message: str) -> dict[str, list[str]]:
    """What the reader says, by dotted path: ``$.activity[0].event`` is ``activity.0.event``."""
    found = _PLACE.fullmatch(message)
    path = re.sub(r"\[(\d+)\]", r".\1", (found["path"] or "") if found else "").lstrip(".")
    return {path: [_say(found["rule"] if found else message, path)]}


def _say(rule: str, path: str) -> str:
    expected = _TYPE.fullmatch(rule)
    if path == "kind":
        return f"must be one of {', '.join(KINDS)}"
    if expected is not None and expected[1] in _EXPECTED:
        return _EXPECTED[expected[1]]
    if "ISO8601" in rule:
        return _DURATION
    return _EXPECTED["decimal"] if rule == "Invalid decimal string" else rule[:1].lower() + rule[1:]
