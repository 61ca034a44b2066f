"""Experiments that run in a platform of the tests, and exposures of them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from abplatform.assignment import decode_snapshot, evaluate
from abplatform.bootstrap import Platform
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.life import Step
from abplatform.services import define, publish
from abplatform.services.ingest import Intake
from tests.builders import NOW, a_metric
from tests.cli.tables import a_platform
from tests.services.lives import take


def run_experiments(home: Path, *definitions: ExperimentDefinition, then: tuple[Step, ...] = ()) -> None:
    """Make a home with started experiments; the first takes further steps."""
    with a_platform(home) as platform, platform.uow.begin() as work:
        define.create_metric(work, "default", a_metric(), now=NOW)
        for definition in reversed(definitions):
            define.create_experiment(work, "default", definition, now=NOW)
            take(work, definition.key, "start")
        for step in then:
            take(work, definitions[0].key, step)


def expose(platform: Platform, variants: dict[str, str], key: str = "rate-display", **fields: Any) -> None:
    """Take exposures of units to variants."""
    events = [
        {
            "event_id": f"{key}-{fields.get('phase', 1)}-{unit}-{variant}",
            "experiment": key,
            "variant": variant,
            "unit_id": unit,
            "timestamp": NOW.isoformat(),
            **fields,
        }
        for unit, variant in variants.items()
    ]
    intake = Intake(platform.uow, platform.inbox, pseudonym_key=platform.pseudonym_key, max_age=timedelta(days=36_500))
    body = json.dumps({"events": events}).encode()
    report = intake.take_exposures("default", body, received_at=NOW)
    assert report.rejected == ()


def draw(
    platform: Platform, units: list[str], key: str = "rate-display", *, unit_type: str = "user_id"
) -> dict[str, str]:
    """The variants of those units that are in the experiment, as the SDK would assign them."""
    with platform.uow.reading() as work:
        snapshot = decode_snapshot(publish.read_snapshot(work, "default").document)
    answers = {unit: evaluate(snapshot, key, unit, units={unit_type: unit}) for unit in units}
    return {unit: str(answer.variant) for unit, answer in answers.items() if answer.in_experiment}
