"""`UnleashClient`, whose evaluator is written in Rust and called through JSON: toggles from memory, no metrics."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

from benchmarks.sdk_peers.work import ADULT, ATTRIBUTES, COUNTRIES, EXPERIMENT, MANY, NOWHERE, OFF, VARIANTS

HAND_OVER_SECONDS = 0.05


def toggles(keys: Sequence[str], *, impressions: bool) -> dict[str, Any]:
    """The experiments ``keys`` as feature toggles; ``impressions`` says whether evaluations are events."""
    return {"version": 2, "features": [_toggle(key, impressions=impressions) for key in keys]}


def _toggle(key: str, *, impressions: bool) -> dict[str, Any]:
    variants = [
        {"name": variant, "weight": 500, "stickiness": "userId", "payload": {"type": "string", "value": variant}}
        for variant in VARIANTS
    ]
    strategy = {
        "name": "flexibleRollout",
        "parameters": {"rollout": "100", "stickiness": "userId", "groupId": key},
        "constraints": [
            {"contextName": "country", "operator": "IN", "values": list(COUNTRIES)},
            {"contextName": "age", "operator": "NUM_GTE", "value": str(ADULT)},
        ],
        "variants": variants,
    }
    return {
        "name": key,
        "enabled": True,
        "impressionData": impressions,
        "strategies": [strategy],
        "variants": [],
    }


class Unleash:
    """With and without impression events, which a thread of the SDK hands to a callback.

    Its queue for that holds 100 events and cannot be made larger: of a fast series some are dropped.
    """

    def __init__(self) -> None:
        self._queue: list[object] = []
        self._folder = tempfile.TemporaryDirectory()
        self._silent = self._client([EXPERIMENT], impressions=False)
        self._logging = self._client([EXPERIMENT], impressions=True)
        self._many = self._client(MANY, impressions=False)

    def _client(self, keys: Sequence[str], *, impressions: bool) -> UnleashClient:
        name = f"benchmark-{len(keys)}-{impressions}"
        cache = FileCache(name, directory=str(Path(self._folder.name, name)))
        cache.bootstrap_from_dict(toggles(keys, impressions=impressions))
        client = UnleashClient(
            url=NOWHERE,
            app_name=name,
            instance_id=name,
            cache=cache,
            disable_metrics=True,
            disable_registration=True,
            event_callback=self._queue.append if impressions else None,
        )
        client.initialize_client(fetch_toggles=False)
        return client

    def evaluate(self, units: Sequence[str]) -> None:
        self._decide(self._silent, units)

    def assign(self, units: Sequence[str]) -> None:
        self._decide(self._logging, units)

    def _decide(self, client: UnleashClient, units: Sequence[str]) -> None:
        for unit in units:
            client.get_variant(EXPERIMENT, {"userId": unit, "properties": ATTRIBUTES})

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        client, context = self._many, {"userId": unit, "properties": ATTRIBUTES}
        return {key: client.get_variant(key, context)["name"] for key in MANY}

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        answer = self._silent.get_variant(EXPERIMENT, {"userId": unit, "properties": attributes})
        return str(answer["name"]) if answer["enabled"] else OFF

    def settle(self) -> int:
        time.sleep(HAND_OVER_SECONDS)
        queued = len(self._queue)
        self._queue.clear()
        return queued


def start() -> Unleash:
    return Unleash()
