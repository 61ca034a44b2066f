"""The metrics of the experiment under chaos, and by the plainest means which conversions each of them counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

EVENTS = ("purchase", "deposit", "transfer")
CHANNELS = ("app", "web", "branch")


class Metric(NamedTuple):
    """A sum of values, or the number of units with such an event.

    Attributes:
        kind: ``sum`` or ``conversion``.
        event: that it reads.
        channel: only those of this channel; "" for all.
    """

    kind: str
    event: str
    channel: str = ""

    def counts(self, body: Mapping[str, Any]) -> bool:
        """Whether it reads a conversion."""
        return body["event"] == self.event and self.channel in {"", body["properties"]["channel"]}

    def definition(self, key: str) -> dict[str, Any]:
        """As it is sent to the platform."""
        where = {"where": {"channel": self.channel}} if self.channel else {}
        return {"key": key, "name": key, "kind": self.kind, "event": self.event} | where


METRICS = {
    "purchased": Metric("sum", "purchase"),
    "deposited": Metric("sum", "deposit"),
    "purchased-on-the-web": Metric("sum", "purchase", "web"),
    "purchasers": Metric("conversion", "purchase"),
}
