"""Who may call: projects, and the keys that belong to them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Literal

from abplatform.domain.checks import Faults
from abplatform.domain.suggestions import LONGEST_NAME

KeyRole = Literal["sdk", "analyst", "experimenter", "reviewer", "admin"]

KEY_ROLES: tuple[KeyRole, ...] = ("sdk", "analyst", "experimenter", "reviewer", "admin")
DEFAULT_PROJECT = "default"
DEFAULT_UNIT_TYPE = "user_id"
DEFAULT_TIME_ZONE = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One environment of one product.

    Attributes:
        unit_type: the type of the ids that calls and events give as ``unit_id``.
        time_zone: IANA name; decides which days metrics mean that count calendar days.
        revision: grows with every change; the ETag.
    """

    key: str
    name: str
    unit_type: str = DEFAULT_UNIT_TYPE
    time_zone: str = DEFAULT_TIME_ZONE
    created_at: datetime
    revision: int = 1


def check_project(project: Project, time_zones: Collection[str]) -> None:
    """Refuse a project that could not be shown, or whose days nobody knows.

    Args:
        project: the one to check.
        time_zones: names of all time zones that this computer knows.

    Raises:
        InvalidInput: naming each field.
    """
    faults = Faults()
    faults.text(project.name, "name", most=200, least=1)
    if project.time_zone not in time_zones:
        meant = _find_zone(project.time_zone, time_zones)
        hint = "" if meant is None else f"; did you mean {meant!r}?"
        faults.add("time_zone", f"must be the IANA name of a time zone, such as Asia/Shanghai or UTC{hint}")
    faults.raise_any()


_NOT_IN_THE_LIST = {"beijing": "Asia/Shanghai", "asia/beijing": "Asia/Shanghai"}


def _find_zone(name: str, time_zones: Collection[str]) -> str | None:
    """The zone that a name is likely to mean: in other letters, misspelt, or a city alone.

    Never Etc/GMT+8, which is eight hours behind Greenwich.
    """
    if len(name) > LONGEST_NAME:
        return None
    asked = name.strip().casefold().replace(" ", "_")
    zones = {zone.casefold(): zone for zone in time_zones if zone == DEFAULT_TIME_ZONE or "/" in zone}
    zones = {folded: zone for folded, zone in zones.items() if not folded.startswith("etc/")}
    cities = {folded.rpartition("/")[2]: zone for folded, zone in zones.items()}
    close = get_close_matches(asked, zones, n=1) if "/" in asked else []
    return (cities | zones | _NOT_IN_THE_LIST).get(asked) or (zones[close[0]] if close else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it can be shown; its secret is not part of it.

    Attributes:
        id: 16 hexadecimal digits, part of the secret's text.
        role: what it may do.
        name: whose it is, for people.
        revoked_at: from then on it opens nothing.
    """

    id: str
    project: str
    role: KeyRole
    name: str
    created_at: datetime
    revoked_at: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it opens anything at that time."""
        return self.revoked_at is None or now < self.revoked_at
