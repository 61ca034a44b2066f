"""A project's name and time zone; the zone stays while results depend on it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from abplatform.domain.metric import Window
from abplatform.errors import InUse, InvalidInput, NotFound, PreconditionFailed
from abplatform.services import define
from abplatform.services.edit_project import edit_project, known_time_zones
from abplatform.services.make_version import make_version
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_metric, a_metric_use, an_experiment
from tests.services.lives import lead, take

DAYS = Window(start=timedelta(days=1), end=timedelta(days=2), calendar=True)


def test_a_project_gets_a_time_zone_and_a_name(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        before = work.projects.get("default")
        edited = edit_project(work, "default", {"time_zone": "Asia/Shanghai", "name": "存款"}, revision=1)
        assert edit_project(work, "default", {"time_zone": "Asia/Shanghai"}, revision=2) == edited
    assert (before.time_zone, before.revision) == ("UTC", 1)
    assert (edited.time_zone, edited.name, edited.revision) == ("Asia/Shanghai", "存款", 2)
    with uow.reading() as work:
        assert work.projects.get("default") == edited == work.projects.all()[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_zone": "Asia/Shangai"}, "time_zone: must be the IANA name .*did you mean 'Asia/Shanghai'"),
        ({"time_zone": "asia/shanghai"}, "did you mean 'Asia/Shanghai'"),
        ({"time_zone": "shanghai"}, "did you mean 'Asia/Shanghai'"),
        ({"time_zone": "America/New Yrok"}, "did you mean 'America/New_York'"),
        ({"time_zone": "Asia/Beijing"}, "did you mean 'Asia/Shanghai'"),
        ({"time_zone": "GMT+8"}, "such as Asia/Shanghai or UTC$"),
        ({"time_zone": "+08:00"}, "time_zone: must be the IANA name of a time zone, such as Asia/Shanghai"),
        ({"time_zone": "../../etc/passwd"}, "time_zone: "),
        ({"time_zone": "localtime"}, "time_zone: "),
        ({"time_zone": "nul\0"}, "time_zone: "),
        ({"time_zone": ""}, "time_zone: "),
        ({"time_zone": "x" * 10_000}, "time_zone: "),
        ({"name": ""}, "name: must be 1 to 200"),
        ({"name": "lone \ud800"}, "name: "),
        ({"unit_type": "device_id"}, "unit_type: is not a field that can be edited"),
        ({"key": "other"}, "key: is not a field that can be edited"),
    ],
)
def test_what_is_wrong_is_named(uow: UnitOfWork, changes: dict[str, Any], message: str) -> None:
    with uow.begin() as work:
        with pytest.raises(InvalidInput, match=message):
            edit_project(work, "default", changes)
        assert work.projects.get("default").revision == 1


def test_another_revision_and_another_project_are_refused(uow: UnitOfWork) -> None:
    with uow.begin() as work:
        with pytest.raises(PreconditionFailed, match="changed by someone else"):
            edit_project(work, "default", {"name": "x"}, revision=2)
        with pytest.raises(NotFound):
            edit_project(work, "nowhere", {"name": "x"})


def test_the_zone_stays_while_a_started_experiment_counts_calendar_days(uow: UnitOfWork) -> None:
    zone = {"time_zone": "Asia/Shanghai"}
    with uow.begin() as work:
        define.create_metric(work, "default", a_metric("next-day", kind="retention", window=DAYS), now=NOW)
    lead(uow, an_experiment(metrics=(a_metric_use(), a_metric_use("next-day"))))
    with uow.begin() as work:
        edit_project(work, "default", {"time_zone": "Asia/Tokyo"})
        take(work, "rate-display", "start")
        with pytest.raises(InUse, match="rate-display has started, and its metric next-day counts calendar days of "):
            edit_project(work, "default", zone)
        # What is pinned counts, not what is newest.
        hours = Window(start=timedelta(hours=24), end=timedelta(hours=48))
        make_version(work, "default", "next-day", {"window": hours}, revision=1, now=NOW)
        with pytest.raises(InUse, match="next-day counts calendar days of Asia/Tokyo"):
            edit_project(work, "default", zone)
        assert edit_project(work, "default", {"name": "Still"}).name == "Still"
        take(work, "rate-display", "stop")
        take(work, "rate-display", "archive")
        assert edit_project(work, "default", zone).time_zone == "Asia/Shanghai"


def test_every_known_zone_fits_and_has_days() -> None:
    """The names of the IANA database, which has some hundreds."""
    zones = known_time_zones()
    assert len(zones) > 400
    assert {"UTC", "Asia/Shanghai", "America/New_York"} <= set(zones)
    assert max(map(len, zones)) <= 64
