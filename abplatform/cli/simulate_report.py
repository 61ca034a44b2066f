"""What a simulation says: a table of figures with their Monte Carlo errors, and verdicts by look."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from abplatform.cli.scenario import digits

if TYPE_CHECKING:
    from abplatform.cli.scenario import Scenario
    from abplatform.stats.simulate import Measured, Outcomes

_ROWS = 10
_BAR = 40


def as_json(scenario: Scenario, outcomes: Outcomes) -> str:
    """One document: what was simulated, each figure with its error, the share with a verdict by look."""
    trial = outcomes.trial
    document = {
        "simulation": scenario.facts(),
        "true_effect": trial.effect,
        "results": {
            key: {"value": _finite(measured.value), "error": _finite(measured.error)}
            for key, _, measured in _figures(outcomes)
        },
        "decided_by_look": [
            {"units": int(units), "share": float(share)}
            for units, share in zip(trial.schedule, outcomes.decided_by_look, strict=True)
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def as_text(scenario: Scenario, outcomes: Outcomes) -> str:
    """A table for people, 72 columns wide."""
    facts = scenario.facts()
    lines = [
        "A/A: both arms alike" if outcomes.trial.effect == 0 else f"A/B: relative effect {digits(scenario.effect, '+')}"
    ]
    lines += [f"  {name.replace('_', ' '):<16}{_fact(value)}" for name, value in facts.items() if name != "effect"]
    lines += ["", f"{'':<36}{'measured':>16}  {'Monte Carlo error':>18}"]
    lines += [_line(name, measured, whole=key == "mean_units") for key, name, measured in _figures(outcomes)]
    lines += [f"{'true effect (absolute)':<36}{outcomes.trial.effect:>16.6g}", "", *_curve(outcomes)]
    return "\n".join(lines) + "\n"


def _figures(outcomes: Outcomes) -> list[tuple[str, str, Measured]]:
    """Keys, names and values of what was measured."""
    if outcomes.trial.effect == 0:
        verdicts = [
            ("false_alarms", "false alarms", outcomes.decided),
            ("called_better", "  treatment called better", outcomes.better),
            ("called_worse", "  treatment called worse", outcomes.worse),
        ]
    else:
        verdicts = [
            ("power", "power: verdicts of the right sign", outcomes.right),
            ("wrong_sign", "verdicts of the wrong sign", outcomes.wrong_sign),
        ]
    return [
        *verdicts,
        ("mean_units", "mean units at stopping", outcomes.units),
        ("coverage", "interval at stopping holds truth", outcomes.coverage),
        ("mean_estimate", "mean estimate at stopping", outcomes.mean_estimate),
        ("mean_winning_estimate", "mean estimate of the winners", outcomes.mean_winning_estimate),
    ]


def _curve(outcomes: Outcomes) -> list[str]:
    """Bars of the share with a verdict, at ten looks or fewer that are equally far apart."""
    schedule, shares = outcomes.trial.schedule, outcomes.decided_by_look
    shown = range(schedule.size - 1, -1, -math.ceil(schedule.size / _ROWS))
    longest = max(float(shares[-1]), 1e-9)
    width = len(f"{schedule[-1]:,}")
    bars = (
        f"{schedule[look]:>{width},}  {shares[look]:.4f}  {'#' * round(_BAR * shares[look] / longest)}".rstrip()
        for look in reversed(shown)
    )
    return ["repetitions with a verdict, by units", *bars]


def _fact(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else digits(value) if isinstance(value, float) else str(value)


def _line(name: str, measured: Measured, *, whole: bool) -> str:
    """A figure with as many places as its error can carry: two of its digits; none of whole things."""
    if not math.isfinite(measured.value):
        return f"{name:<36}{'-':>16}"
    error = measured.error if measured.error > 0 else max(abs(measured.value), 1e-4) * 1e-4
    places = 0 if whole else min(8, max(0, 1 - math.floor(math.log10(error))))
    shown = f"{measured.error:,.{places}f}" if math.isfinite(measured.error) else "-"
    return f"{name:<36}{measured.value:>16,.{places}f}  {shown:>18}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
