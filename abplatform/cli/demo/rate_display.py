"""The rate-display experiment, live: defined over HTTP, served by the SDK, read while it runs."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.pool import AsyncResult
from typing import TYPE_CHECKING, Any, cast

import click

from abplatform.cli.demo.customers import CUSTOMERS, EFFECT, Crowd, Visit, send_crowd
from abplatform.cli.demo.definition import (
    COMPLAINT,
    DEPOSIT,
    PURCHASE,
    RATE_DISPLAY,
    WINDOW_SECONDS,
    experiment_document,
)
from abplatform.cli.demo.server import Server, running_server
from abplatform.cli.readout import print_text
from abplatform.cli.session import open_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.readout.numbers import bounds, lift
from abplatform.settings import Settings

if TYPE_CHECKING:
    from abplatform.domain.access import KeyRole
    from abplatform.domain.scorecard import Scorecard

_PROCESSES = 4
_VISIT_SECONDS = 12.0
_LOOK_SECONDS = 3.0
# The SDK has to start and the first windows to close before there is anything to see.
_FIRST_LOOK_SECONDS = WINDOW_SECONDS + _LOOK_SECONDS
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the live experiment went.

    Attributes:
        covered: whether the interval of the primary metric covers the effect that was planted.
        admin_key: the project's first one, where it was made on the way.
    """

    key: str
    covered: bool
    admin_key: str | None


def run(settings: Settings) -> Outcome:
    """Run it from definition to readout, and print what happens."""
    with _keys(settings) as keys, running_server(settings) as server:
        click.echo(f"the server answers on {server.url}")
        key = _define(server, keys["experimenter"])
        click.echo(f"defined and started {key} over HTTP; the planted effect is {lift(EFFECT)} on purchase")
        click.echo(f"a purchase counts within {WINDOW_SECONDS} seconds of the first exposure; a real window is days")
        look = _Looks(server, keys["analyst"], key)
        with _crowds(server, keys["sdk"], key) as visits:
            _watch(look, visits)
            _report_visits([visit.get() for visit in visits])
        _wait_for_windows(look)
        admin_key = server.admin_key
    with open_platform(settings) as platform:
        scorecard = platform.results(DEFAULT_PROJECT, key)
        looks = platform.looks(DEFAULT_PROJECT, key)
    click.echo()
    print_text(scorecard, looks)
    return Outcome(key=key, covered=_say_whether_covered(scorecard), admin_key=admin_key)


@contextmanager
def _keys(settings: Settings) -> Iterator[dict[str, str]]:
    """One key for each role that the demo plays, revoked at its end."""
    from abplatform.services.access import create_key, revoke_key

    roles: tuple[KeyRole, ...] = ("experimenter", "sdk", "analyst")
    with open_platform(settings) as platform, platform.uow.begin() as work:
        made = {role: create_key(work, DEFAULT_PROJECT, role, name="demo", now=platform.now()) for role in roles}
    try:
        yield {role: secret for role, (_, secret) in made.items()}
    finally:
        with open_platform(settings) as platform, platform.uow.begin() as work:
            for api_key, _ in made.values():
                revoke_key(work, DEFAULT_PROJECT, api_key.id, now=platform.now())


def _define(server: Server, api_key: str) -> str:
    """Make the metrics and the experiment, under the first names that are free, and start it."""
    metrics = {
        document["key"]: _define_metric(server, api_key, document) for document in (PURCHASE, COMPLAINT, DEPOSIT)
    }
    taken = {item["key"] for item in _all(server, "/experiments", api_key)}
    key = next(name for name in _names(RATE_DISPLAY) if name not in taken)
    server.call("POST", "/experiments", experiment_document(key, metrics), api_key=api_key)
    server.call("POST", f"/experiments/{key}/start", api_key=api_key)
    return key


def _define_metric(server: Server, api_key: str, document: dict[str, Any]) -> str:
    """The key of a metric that counts as the document says: an existing one, or a new one."""
    existing = {item["key"]: item for item in _all(server, "/metrics", api_key)}
    for name in _names(document["key"]):
        if name not in existing:
            server.call("POST", "/metrics", document | {"key": name}, api_key=api_key)
            return name
        if all(existing[name].get(field) == value for field, value in document.items() if field != "key"):
            return name
    raise AssertionError("the names never end")


def _names(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}-{number}" for number in count(2))


def _all(server: Server, path: str, api_key: str) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = server.call("GET", f"{path}?limit=100{cursor}", api_key=api_key)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


@contextmanager
def _crowds(server: Server, api_key: str, key: str) -> Iterator[list[AsyncResult[Visit]]]:
    share = CUSTOMERS // _PROCESSES
    crowds = [
        Crowd(url=server.url, api_key=api_key, experiment=key, first=first, last=first + share, seconds=_VISIT_SECONDS)
        for first in range(0, CUSTOMERS, share)
    ]
    # A pool that ends its processes at the end of the block, whatever they do: a failed demo must not linger.
    with multiprocessing.get_context("spawn").Pool(_PROCESSES) as processes:
        yield [processes.apply_async(send_crowd, (crowd,)) for crowd in crowds]


class _Looks:
    """Reads the results and prints each look once."""

    def __init__(self, server: Server, api_key: str, key: str) -> None:
        self._server, self._api_key, self.key = server, api_key, key
        self._printed = 0

    def take(self) -> dict[str, Any]:
        """The results as of now."""
        path = f"/experiments/{self.key}/results"
        results = cast("dict[str, Any]", self._server.call("GET", path, api_key=self._api_key))
        first = results["metrics"][0]
        units = sum(arm["units"] for arm in first["variants"])
        if units and results["look"] > self._printed:
            self._printed = results["look"]
            shown = lift(first["comparisons"][0]["relative"]["estimate"])
            click.echo(f"look {results['look']}: {units:>6,} customers with a closed window, purchase {shown}")
        return results


def _watch(look: _Looks, visits: list[AsyncResult[Visit]]) -> None:
    """Look at the result while customers come: a sequential plan allows it."""
    deadline = time.monotonic() + _VISIT_SECONDS + _LONGEST_WAIT
    pause = _FIRST_LOOK_SECONDS
    while not all(visit.ready() for visit in visits):
        if time.monotonic() > deadline:
            raise click.ClickException("the customers did not get through in time")
        time.sleep(pause)
        look.take()
        pause = _LOOK_SECONDS


def _wait_for_windows(look: _Looks) -> None:
    """Until every customer's window has closed."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        arms = [arm for metric in look.take()["metrics"] for arm in metric["variants"]]
        if all(arm["open_units"] == 0 for arm in arms):
            return
        if time.monotonic() > deadline:
            raise click.ClickException(f"the windows of {look.key} did not close within {_LONGEST_WAIT:g} seconds")
        time.sleep(1)


def _report_visits(visits: list[Visit]) -> None:
    customers, delivered = sum(visit.customers for visit in visits), sum(visit.delivered for visit in visits)
    click.echo(f"{customers:,} customers came through {_PROCESSES} processes; the SDK delivered {delivered:,} events")
    lost = sum(visit.lost for visit in visits)
    if lost:
        raise click.ClickException(f"the SDK could not deliver {lost:,} events")


def _say_whether_covered(scorecard: Scorecard) -> bool:
    relative = scorecard.metrics[0].comparisons[0].relative
    low = float("-inf") if relative.lower is None else relative.lower
    high = float("inf") if relative.upper is None else relative.upper
    covered = low <= EFFECT <= high
    verb = "covers" if covered else "DOES NOT COVER"
    click.echo()
    click.echo(f"The interval {bounds(relative, kind='lift')} {verb} the effect that was planted, {lift(EFFECT)}.")
    return covered
