"""The mark of a home whose data are simulated: stories go nowhere else, and real data do not go there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abplatform.cli.session import place
from abplatform.errors import StartRefused

if TYPE_CHECKING:
    from abplatform.settings import Settings

ELSEWHERE = "set ABPLATFORM_HOME to a new folder"
_MARKER = "simulated"


def is_simulated(settings: Settings) -> bool:
    """Whether stories were told in this home."""
    return settings.embedded and (settings.home / _MARKER).exists()


def mark_simulated(settings: Settings) -> None:
    """Say in the home itself what its data are."""
    settings.home.mkdir(parents=True, exist_ok=True)
    note = "The data here are simulated: abplatform simulate-app made them.\n"
    (settings.home / _MARKER).write_text(note, encoding="utf-8")


def check_takes_real_data(settings: Settings) -> None:
    """Refuse to import where simulated customers are.

    Raises:
        StartRefused: stories were told there.
    """
    if is_simulated(settings):
        raise StartRefused(f"{place(settings)} holds simulated customers, real ones must not join them: {ELSEWHERE}")
