"""From what happened to events on their lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._assignment import Decider, Evaluation, ExperimentRule
from .decision import Answer, Decision, FallBack, Subject, build_evaluate
from .delivery import Lane
from .events import (
    Exposure,
    HoldoutExposure,
    Unsendable,
    encode_conversion,
    encode_exposure,
    encode_head,
    encode_holdout_exposure,
)
from .exposed import ExposedThisHour


class Recorder:
    """Turns decisions into exposures, once per hour each, and outcomes into conversions.

    Args:
        exposures: lane of the exposures.
        conversions: lane of the conversions.
        clock: Unix time in seconds, a new object at each call.
    """

    def __init__(self, exposures: Lane, conversions: Lane, *, clock: Callable[[], float]) -> None:
        self._exposures = exposures
        self._conversions = conversions
        self._clock = clock
        self._exposed = ExposedThisHour()
        exposures.buffer.on_encoded = self._exposed.note

    def renew(self) -> None:
        """Begin anew in a forked child."""
        self._exposed.renew()

    def build_assign(self, rule: ExperimentRule, decide: Decider, fall_back: FallBack) -> Answer:
        """Compile "decide and log the exposure" for one experiment.

        Nearly every exposure is light: no lock is taken for it, and nothing is encoded. All others go the way of
        `expose`.
        """
        clock, exposed, buffer = self._clock, self._exposed, self._exposures.buffer
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
                now = clock()
                if not exposed.since <= now < exposed.until:
                    exposed.turn(now)
                seen = claims.seen
                # The clock's number object is the claim: nobody else has it.
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
        # Ids may hold any character; their representations cannot run into each other.
        who = unit_id if not units else repr((unit_id, sorted(units.items())))
        logged = False
        for holdout, group in evaluation.holdouts:
            event = encode_holdout_exposure(HoldoutExposure(holdout, group, unit_id, units), now=now)
            logged = self._put_once(f"holdout:{holdout}", 1, who, event) or logged
        if evaluation.in_experiment and evaluation.variant is not None and evaluation.phase is not None:
            exposure = Exposure(evaluation.experiment, evaluation.phase, evaluation.variant, unit_id, units, attributes)
            logged = self._put_once(exposure.experiment, exposure.phase, who, encode_exposure(exposure, now=now))
        return logged

    def _put_once(self, what: str, phase: int, who: str, event: bytes) -> bool:
        seen = self._exposed.claims(what, phase).seen
        if seen.setdefault(who, event) is not event:
            return True
        self._exposed.note()
        if self._exposures.put(event):
            return True
        seen.pop(who, None)
        return False
