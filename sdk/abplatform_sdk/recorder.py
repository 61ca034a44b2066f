"""From what happened to events on their lanes, each exposure once per hour."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from ._assignment import Decider, Evaluation, ExperimentRule
from .buffer import EventBuffer
from .decision import Answer, Decision, FallBack, build_evaluate
from .events import Subject, Unsendable, encode_conversion, encode_exposure, encode_head

_MOST = 100_000
_HOUR = 3600


class Claims:
    """Who was exposed to one thing: claim by unit.

    Whoever does ``seen.setdefault(unit, claim) is claim``, with an object of its own, is the first: it is atomic, so
    that no lock is needed.
    """

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: dict[Hashable, object] = {}


class ExposedThisHour:
    """A bounded memory of who was exposed to what, emptied when the hour changes.

    Also after 100,000 exposures. One that was forgotten is logged once more, which the platform counts as the same
    unit.

    Attributes:
        since, until: the hour that is remembered, in Unix seconds.
    """

    def __init__(self) -> None:
        self.since = self.until = 0.0
        self._claims: dict[tuple[str, int], Claims] = {}
        self.renew()

    def renew(self) -> None:
        self._lock = threading.RLock()
        self._forget()

    def claims(self, what: str, phase: int) -> Claims:
        """Who was exposed to a phase of something; one object for ever, to be asked after `turn`."""
        found = self._claims.get((what, phase))
        return found if found is not None else self._claims.setdefault((what, phase), Claims())

    def turn(self, now: float) -> None:
        """Begin the hour of ``now``, unless it has begun."""
        with self._lock:
            if not self.since <= now < self.until:
                self._forget()
                self.since = now // _HOUR * _HOUR
                self.until = self.since + _HOUR

    def note(self) -> None:
        with self._lock:
            self._count += 1
            if self._count >= _MOST:
                self._forget()

    def _forget(self) -> None:
        self._count = 0
        for claims in list(self._claims.values()):
            claims.seen = {}


class Recorder:
    """Turns decisions into exposures, once per hour each, and outcomes into conversions."""

    def __init__(self, exposures: EventBuffer, conversions: EventBuffer, *, clock: Callable[[], float]) -> None:
        self._exposures = exposures
        self._conversions = conversions
        self._clock = clock
        self._exposed = ExposedThisHour()
        exposures.on_encoded = self._exposed.note

    def renew(self) -> None:
        self._exposed.renew()

    def build_assign(self, rule: ExperimentRule, decide: Decider, fall_back: FallBack) -> Answer:
        """Compile "decide and log the exposure" for one experiment.

        Nearly every exposure is light: no lock is taken for it, and nothing is encoded. All others go the way of
        `expose`.
        """
        clock, exposed, buffer = self._clock, self._exposed, self._exposures
        claims, dimensions, waiting = exposed.claims(rule.key, rule.phase), rule.dimensions, buffer.light
        heads: dict[str | None, str] = {
            variant.key: encode_head(rule.key, rule.phase, variant.key) for variant in rule.variants
        }
        evaluate, never_light = build_evaluate(decide, dimensions, fall_back), bool(rule.holdouts)

        def assign(unit_id: Any, attributes: Any, units: Any, default: Any) -> Decision:
            if never_light or units or (dimensions and attributes) or type(unit_id) is not str or len(unit_id) > 256:
                decision = evaluate(unit_id, attributes, units, default)
                self.expose(decision)
                return decision
            evaluation = decide(unit_id, attributes, None)
            if evaluation[3]:  # in the experiment
                # A number object of this call alone, also where a test has stopped the clock: it is the claim.
                now = clock() + 0.0
                if not exposed.since <= now < exposed.until:
                    exposed.turn(now)
                seen = claims.seen
                if seen.setdefault(unit_id, now) is now:
                    if len(waiting) < buffer.room:
                        waiting.append((heads[evaluation[1]], unit_id, now))
                        if len(waiting) >= buffer.wake_at:
                            buffer.call_sender()
                    else:
                        buffer.drop_for_room()
                        seen.pop(unit_id, None)
            elif evaluation[1] is None:
                return fall_back(evaluation, default)
            return Decision(evaluation, unit_id)

        return assign

    def expose(self, decision: Decision) -> bool:
        """Log the exposure of a decision; False if there is none to log, or if it was dropped. Never raises."""
        evaluation, subject = decision._evaluation, decision._subject  # noqa: SLF001 (kept for this)
        try:
            return subject is not None and self._expose(evaluation, subject)
        except Unsendable as error:
            self._exposures.refuse(error.reason)
        except Exception:  # noqa: BLE001 (a guest does not raise into the product)
            self._exposures.refuse("error")
        return False

    def track(self, event: object, unit_id: object, **fields: object) -> bool:
        """Log a conversion; False if it was dropped. Never raises."""
        try:
            return self._conversions.put(encode_conversion(event, unit_id, **fields, now=self._clock()))
        except Unsendable as error:
            self._conversions.refuse(error.reason)
        except Exception:  # noqa: BLE001 (a guest does not raise into the product)
            self._conversions.refuse("error")
        return False

    def _expose(self, evaluation: Evaluation, subject: str | Subject) -> bool:
        unit_id, units, attributes = subject if isinstance(subject, Subject) else Subject(subject, {}, {})
        now = self._clock()
        self._exposed.turn(now)
        # The claim of a light exposure is the id alone; no representation of an id with others is one.
        who = unit_id if not units else (unit_id, *sorted(units.items()))
        logged = False
        for holdout, group in evaluation.holdouts:
            check = {"holdout": holdout, "group": group}
            encode = partial(encode_exposure, check, Subject(unit_id, units, {}), now=now)
            logged = self._put_once(f"holdout:{holdout}", 1, who, encode) or logged
        key, variant, _, in_experiment, _, phase, _ = evaluation
        if in_experiment and phase is not None:
            what = {"experiment": key, "phase": phase, "variant": variant}
            encode = partial(encode_exposure, what, Subject(unit_id, units, attributes), now=now)
            logged = self._put_once(key, phase, who, encode)
        return logged

    def _put_once(self, what: str, phase: int, who: Hashable, encode: Callable[[], bytes]) -> bool:
        seen = self._exposed.claims(what, phase).seen
        if who in seen:
            return True
        event = encode()
        if seen.setdefault(who, event) is not event:
            return True
        self._exposed.note()
        if self._exposures.put(event):
            return True
        seen.pop(who, None)
        return False
