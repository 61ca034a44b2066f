"""Leading experiments through their lives, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from abplatform.assignment import decode_snapshot, evaluate
from abplatform.domain.experiment import Experiment, ExperimentDefinition, Prerequisite
from abplatform.domain.life import Step
from abplatform.services import define, live, publish
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_decision, an_experiment, later

UNITS = [f"u-{number}" for number in range(2_000)]
WAYS: dict[str, tuple[Step, ...]] = {
    "draft": (),
    "running": ("start",),
    "paused": ("start", "pause"),
    "closed": ("start", "close"),
    "stopped": ("start", "stop"),
    "archived": ("start", "stop", "archive"),
}


def take(work: Work, key: str, step: Step, *, now: datetime = NOW, revision: int | None = None) -> Experiment:
    """Take any step, with the least that it needs: a ramp by a tenth, a phase that changes nothing, no winner."""
    ways: Mapping[Step, Callable[[], Experiment]] = {
        "ramp": lambda: live.ramp(
            work, "default", key, work.experiments.get("default", key).definition.coverage + 0.1, revision=revision
        ),
        "phase": lambda: live.open_phase(
            work, "default", key, live.PhaseRequest(changes={}, reason="a bug"), now=now, revision=revision
        ),
        "decide": lambda: live.decide(
            work, "default", key, a_decision("inconclusive", decided_at=now), revision=revision
        ),
    }
    if step in ways:
        return ways[step]()
    return live.take_step(work, "default", key, step, now=now, revision=revision)  # type: ignore[arg-type]


def lead(uow: UnitOfWork, definition: ExperimentDefinition, *steps: Step) -> Experiment:
    """Make an experiment and lead it through steps."""
    with uow.begin() as work:
        experiment = define.create_experiment(work, "default", definition, now=NOW)
        for step in steps:
            experiment = take(work, definition.key, step)
    return experiment


def published(uow: UnitOfWork) -> dict[str, Any]:
    """The document of the snapshot."""
    with uow.reading() as work:
        document: dict[str, Any] = json.loads(publish.read_snapshot(work, "default").document)
    return document


def ramp(uow: UnitOfWork, coverage: float, key: str = "rate-display", revision: int | None = None) -> Experiment:
    with uow.begin() as work:
        return live.ramp(work, "default", key, coverage, revision=revision)


def open_phase(uow: UnitOfWork, key: str = "rate-display", **changes: Any) -> Experiment:
    with uow.begin() as work:
        request = live.PhaseRequest(changes=changes, reason="A payload was wrong")
        return live.open_phase(work, "default", key, request, now=later(days=1))


def decide(uow: UnitOfWork, outcome: Any, key: str = "rate-display", **changes: Any) -> Experiment:
    with uow.begin() as work:
        return live.decide(work, "default", key, a_decision(outcome, **changes))


def variants_of(uow: UnitOfWork, key: str = "rate-display") -> dict[str, tuple[str, str | None]]:
    """Reason and variant of many units, as an evaluator of what is published sees them."""
    with uow.reading() as work:
        snapshot = decode_snapshot(publish.read_snapshot(work, "default").document)
    answers = {unit: evaluate(snapshot, key, unit, {}) for unit in UNITS}
    return {unit: (answer.reason, answer.variant) for unit, answer in answers.items()}


def needing(key: str, other: str, *variants: str, **changes: Any) -> Any:
    need = Prerequisite(experiment=other, variants=variants or ("treatment",))
    return an_experiment(key, prerequisites=(need,), **changes)
