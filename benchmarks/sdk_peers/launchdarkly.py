"""`launchdarkly-server-sdk`: flags from a file, and an event processor that keeps what it is sent."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldclient import Context, LDClient
from ldclient.config import Config
from ldclient.integrations import Files
from ldclient.interfaces import EventProcessor

from benchmarks.sdk_peers.work import ADULT, ATTRIBUTES, COUNTRIES, EXPERIMENT, MANY, OFF, VARIANTS


def flags(keys: Sequence[str]) -> dict[str, Any]:
    """The experiments ``keys`` as flags."""
    return {"flags": {key: _flag(key, seed) for seed, key in enumerate(keys)}, "segments": {}}


def _flag(key: str, seed: int) -> dict[str, Any]:
    rule = {
        "id": "adults",
        "clauses": [
            {"attribute": "country", "op": "in", "values": list(COUNTRIES)},
            {"attribute": "age", "op": "greaterThanOrEqual", "values": [ADULT]},
        ],
        "rollout": {
            "kind": "experiment",
            "seed": seed,
            "variations": [{"variation": place, "weight": 50_000} for place, _ in enumerate(VARIANTS)],
        },
        "trackEvents": True,
    }
    return {
        "key": key,
        "version": 1,
        "on": True,
        "salt": key,
        "variations": [*VARIANTS, OFF],
        "offVariation": 2,
        "fallthrough": {"variation": 2},
        "rules": [rule],
        "targets": [],
        "prerequisites": [],
    }


class Keeper(EventProcessor):
    """Appends each event: the real one adds a bounded queue, a thread and JSON to that."""

    def __init__(self) -> None:
        self.queue: list[object] = []

    def send_event(self, event: object) -> None:
        self.queue.append(event)

    def flush(self) -> None:
        """Nothing is sent."""

    def stop(self) -> None:
        """Nothing runs."""


class LaunchDarkly:
    """With and without events."""

    def __init__(self) -> None:
        self._keeper = Keeper()
        self._silent = self._client([EXPERIMENT], send_events=False)
        self._logging = self._client([EXPERIMENT], send_events=True)
        self._many = self._client(MANY, send_events=False)

    def _client(self, keys: Sequence[str], *, send_events: bool) -> LDClient:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "flags.json")
            file.write_text(json.dumps(flags(keys)))
            config = Config(
                "sdk-key",
                update_processor_class=Files.new_data_source(paths=[str(file)]),
                send_events=send_events,
                event_processor_class=(lambda _: self._keeper) if send_events else None,
                diagnostic_opt_out=True,
            )
            client = LDClient(config, start_wait=10)
        if not client.is_initialized():
            raise RuntimeError("the client has no flags")
        return client

    def evaluate(self, units: Sequence[str]) -> None:
        self._decide(self._silent, units)

    def assign(self, units: Sequence[str]) -> None:
        self._decide(self._logging, units)

    def _decide(self, client: LDClient, units: Sequence[str]) -> None:
        for unit in units:
            client.variation(EXPERIMENT, _context(unit, ATTRIBUTES), OFF)

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        return self._many.all_flags_state(_context(unit, ATTRIBUTES)).to_values_map()

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        return str(self._silent.variation(EXPERIMENT, _context(unit, attributes), OFF))

    def settle(self) -> int:
        queued = len(self._keeper.queue)
        self._keeper.queue.clear()
        return queued


def _context(unit: str, attributes: Mapping[str, Any]) -> Context:
    return Context.builder(unit).set("country", attributes["country"]).set("age", attributes["age"]).build()


def start() -> LaunchDarkly:
    return LaunchDarkly()
