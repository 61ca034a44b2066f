"""What a check refuses."""

from __future__ import annotations

from collections.abc import Callable

from abplatform.errors import InvalidInput


def faults_of(check: Callable[[], None]) -> dict[str, list[str]]:
    """The fields that a check names, with what is wrong; nothing where it has nothing against them."""
    try:
        check()
    except InvalidInput as refusal:
        return refusal.errors
    return {}
