"""A client bound to the unit of one request: what the framework helpers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ._assignment import Reason, unanswered
from .client import Client
from .decision import Decision, decision_with_default
from .troubles import Troubles


class Unit(NamedTuple):
    """Whom a request is about; the arguments of `Client.assign` under the same names."""

    unit_id: str | None
    attributes: Mapping[str, Any] | None = None
    units: Mapping[str, str] | None = None


# What a product may give: all of it, the id alone, or None for nobody.
Found = Unit | str | None

_NOBODY = Unit(None)
_troubles = Troubles()


class BoundClient:
    """The calls of a `Client` without the unit, which is looked up when a call first needs it, and once.

    Like the client it never raises: without a unit, or if looking it up fails, the reason is ``NO_UNIT``.

    Args:
        client: decides and logs; None (outside of requests) answers ``NO_UNIT``.
        find: gives the unit. What it raises is logged, at most once a minute.
    """

    def __init__(self, client: Client | None, find: Callable[[], Found]) -> None:
        self.client = client
        self._find = find
        self._unit: Unit | None = None

    @property
    def unit(self) -> Unit:
        """The unit; its id is None if there is none."""
        if self._unit is None:
            self._unit = _look_up(self._find)
        return self._unit

    def assign(self, experiment: str, *, default: Any = None) -> Decision:
        """As `Client.assign`: decides, and logs the exposure."""
        if self.client is None:
            return _nobody(experiment, default)
        unit_id, attributes, units = self.unit
        return self.client.assign(experiment, unit_id, attributes, units=units, default=default)

    def evaluate(self, experiment: str, *, default: Any = None) -> Decision:
        """As `Client.evaluate`: decides, without an exposure."""
        if self.client is None:
            return _nobody(experiment, default)
        unit_id, attributes, units = self.unit
        return self.client.evaluate(experiment, unit_id, attributes, units=units, default=default)

    def expose(self, decision: Decision) -> bool:
        """As `Client.expose`: logs the exposure of a decision of `evaluate`."""
        return self.client is not None and self.client.expose(decision)

    def track(
        self,
        event: str,
        *,
        value: Decimal | float | str | None = None,
        properties: Mapping[str, str | int | float | bool | None] | None = None,
        timestamp: datetime | None = None,
        event_id: str | None = None,
    ) -> bool:
        """As `Client.track`: logs a conversion. False if it was dropped, as it is without a unit."""
        unit_id, _, units = self.unit
        if self.client is None or unit_id is None:
            return False
        return self.client.track(
            event, unit_id, value=value, properties=properties, units=units, timestamp=timestamp, event_id=event_id
        )


def _look_up(find: Callable[[], Found]) -> Unit:
    try:
        found = find()
    except Exception as error:  # noqa: BLE001 (the product's own code; its request must go on)
        with suppress(Exception):
            _troubles.warn("unit", "the unit of a request cannot be found: %s: %s", type(error).__name__, error)
        return _NOBODY
    if isinstance(found, Unit):
        return found
    return _NOBODY if found is None else Unit(found)


def _nobody(experiment: str, default: Any) -> Decision:
    return decision_with_default(unanswered(experiment, Reason.NO_UNIT), default)
