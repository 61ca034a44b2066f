"""The work that every SDK gets, and what one has to do to be timed on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

EXPERIMENT = "rate-display"
MANY = tuple(f"experiment-{number:03d}" for number in range(500))
COUNTRIES = ("CN", "HK")
ADULT = 18
ATTRIBUTES: Mapping[str, Any] = {"country": "CN", "age": 30}
VARIANTS = ("control", "treatment")
OFF = "off"

# Nobody listens on the port of the discard protocol: what an SDK sends in the background is refused at once.
NOWHERE = "http://127.0.0.1:9"


class Peer(Protocol):
    """One SDK with two documents: one of `EXPERIMENT` alone, one of `MANY`; each 50/50, for adults in two countries.

    The loops stand in the peer, so that nothing but its own calls is timed.
    """

    def evaluate(self, units: Sequence[str]) -> None:
        """Decide `EXPERIMENT` for each unit, without an exposure."""

    def assign(self, units: Sequence[str]) -> None:
        """Decide it, and queue the exposure."""

    def evaluate_many(self, unit: str) -> Mapping[str, object]:
        """Decide all of `MANY` for one unit: by experiment its variant, or an answer that has it as `variant`."""

    def variant(self, unit: str, attributes: Mapping[str, Any]) -> str:
        """Decide `EXPERIMENT`; `OFF` for a unit that is not targeted."""

    def settle(self) -> int:
        """The exposures that were queued since the last call; they are forgotten. Not timed."""
