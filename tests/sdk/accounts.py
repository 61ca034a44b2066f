"""The account of a client against the calls that the test itself made; `produced` follows from the other counts."""

from __future__ import annotations

from abplatform_sdk import Client, Stats


def accounts_for(stats: Stats, calls: int) -> bool:
    """Whether so many events, no more and no less, have a fate or wait; and each that was not taken has a reason."""
    settled = stats.delivered + stats.rejected + stats.dropped + stats.pending
    return settled == stats.produced == calls and sum(stats.reasons.values()) == stats.rejected + stats.dropped


class Tally:
    """Events that threads hand over, each in a place of its own, to check an account that is read meanwhile.

    Args:
        threads: how many.
        others: at most so many events more, that are not told here.
    """

    def __init__(self, threads: int, *, others: int = 0) -> None:
        self._begun = [0] * threads
        self._ended = [0] * threads
        self._others = others
        self.misses: list[Stats] = []

    def track(self, client: Client, thread: int, unit_id: str) -> None:
        """Track a purchase."""
        self._begun[thread] += 1
        client.track("purchase", unit_id)
        self._ended[thread] += 1

    def check(self, client: Client) -> None:
        """Keep the account in ``misses`` if it has fewer events than were handed over, or more than were begun."""
        ended = sum(self._ended)
        stats = client.stats()
        settled = stats.delivered + stats.rejected + stats.dropped + stats.pending
        if not ended <= settled <= sum(self._begun) + self._others:
            self.misses.append(stats)
