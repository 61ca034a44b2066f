"""From what happened to events on their lanes."""

from __future__ import annotations

from collections.abc import Callable

from .decision import Decision
from .delivery import Lane
from .events import Unsendable, encode_conversion, encode_exposure
from .exposed import ExposedThisHour


class Recorder:
    """Turns decisions into exposures, once per hour each, and outcomes into conversions. Never raises.

    Args:
        exposures: lane of the exposures.
        conversions: lane of the conversions.
        clock: Unix time in seconds.
    """

    def __init__(self, exposures: Lane, conversions: Lane, *, clock: Callable[[], float]) -> None:
        self._exposures = exposures
        self._conversions = conversions
        self._clock = clock
        self._exposed = ExposedThisHour()

    def renew(self) -> None:
        """Begin anew in a forked child."""
        self._exposed.renew()

    def expose(self, decision: Decision) -> bool:
        """Log the exposure of a decision; False if there is none to log, or if it was dropped."""
        try:
            return self._expose(decision)
        except Unsendable as error:
            self._exposures.refuse(error.reason)
        except Exception:  # noqa: BLE001 (a guest does not raise into the product)
            self._exposures.refuse("error")
        return False

    def track(self, event: object, unit_id: object, **fields: object) -> bool:
        """Log a conversion; False if it was dropped."""
        try:
            return self._conversions.put(encode_conversion(event, unit_id, **fields, now=self._clock()))
        except Unsendable as error:
            self._conversions.refuse(error.reason)
        except Exception:  # noqa: BLE001 (a guest does not raise into the product)
            self._conversions.refuse("error")
        return False

    def _expose(self, decision: Decision) -> bool:
        exposure = decision._exposure  # noqa: SLF001 (kept for this)
        if exposure is None:
            return False
        now = self._clock()
        key = (exposure.experiment, exposure.phase, exposure.unit_id)
        if not self._exposed.claim(key, now):
            return True
        logged = False
        try:
            logged = self._exposures.put(encode_exposure(exposure, now=now))
        finally:
            if not logged:
                self._exposed.give_up(key)
        return logged
