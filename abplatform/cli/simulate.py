"""``abplatform simulate``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from abplatform.cli.progress import progress_bar
from abplatform.cli.scenario import CAPS, Bounds, Data, Method, Scenario, checked_scenario

if TYPE_CHECKING:
    from abplatform.stats.simulate import Outcomes


class _Between(click.FloatRange):
    """A range that NaN, which no comparison finds outside, is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


_SHARE = _Between(1e-9, 1, max_open=True)
_POSITIVE = _Between(1e-12, 1e12)


class _Cap(click.ParamType):
    """A value, or a quantile in percent such as p99."""

    name = "VALUE|pQUANTILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bool, float]:
        text = str(value)
        quantile = text.startswith("p")
        number = _number(text.removeprefix("p"))
        lowest, highest = CAPS
        if not (0 < number < 100 if quantile else lowest <= number <= highest):
            wanted = f"a value from {lowest:g} to {highest:g} or a quantile between p0 and p100, such as p99"
            self.fail(f"{text!r} is not {wanted}", param, ctx)
        return quantile, number


class _Split(click.ParamType):
    """Two weights."""

    name = "CONTROL/TREATMENT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        control, _, treatment = str(value).partition("/")
        weights = _number(control), _number(treatment)
        if not all(1e-6 <= weight <= 1e6 for weight in weights):
            self.fail(f"{value!r} is not two weights such as 90/10", param, ctx)
        return weights


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _option(name: str, kind: Any, default: Any, note: str) -> Any:
    return click.option(name, type=kind, default=default, show_default=default is not None, help=note)


@click.command("simulate")
@_option(
    "--method", click.Choice(get_args(Method)), "sequential", "How it is watched; naive: a fixed test at every look."
)
@_option("--effect", _Between(-1, 1e6, min_open=True), 0.0, "Relative effect; 0 is an A/A test.")
@_option(
    "--data", click.Choice(get_args(Data)), "bernoulli", "revenue: lognormal amounts of some units, 0 of the rest."
)
@_option("--rate", _SHARE, 0.05, "Share of units that convert, or that have revenue.")
@_option("--mean", _POSITIVE, 1.0, "Mean of normal values, or of amounts above 0 before the cap.")
@_option("--sd", _POSITIVE, 1.0, "Standard deviation of normal values, or of the logarithm of amounts.")
@_option("--cap", _Cap(), None, "Larger amounts count as this; p99 is a quantile of the amounts above 0.")
@_option("--split", _Split(), "50/50", "Weights; units are assigned at random.")
@_option("--units", click.IntRange(2, 10**9), 20_000, "Planned units of both arms together.")
@_option("--looks", click.IntRange(1), None, "Equally spaced looks, the last at --units; 20 unless --every is given.")
@_option("--every", click.IntRange(1), None, "Look whenever this many units have come.")
@_option("--alpha", _SHARE, 0.05, "Error rate; bayesian: stop at a chance to win or to lose above 1 - alpha.")
@click.option("--guard/--no-guard", default=True, help="Whether the sequential method waits for its guard.")
@_option("--spending", click.Choice(get_args(Bounds)), "obrien_fleming", "group_sequential: how alpha is spent.")
@_option("--prior-scale", _POSITIVE, 0.05, "bayesian: sd of the prior of the relative effect; 1000 is flat.")
@_option("--loss-threshold", _SHARE, None, "bayesian: 'better' is said when the expected relative loss is below this.")
@_option("--repetitions", click.IntRange(2, 10**7), 10_000, "How often the experiment is repeated.")
@_option("--seed", click.IntRange(0), 1, "Equal seeds give equal output.")
@_option("--format", click.Choice(["text", "json"]), "text", "Form of the output.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Repeat a simulated experiment many times, and measure how often a method errs.

    A repetition stops at its first verdict. Without an effect every verdict is a false alarm; with one see the power,
    the sign, whether the interval at stopping holds the truth, and by how much winners are overestimated. Every
    figure comes with its Monte Carlo standard error.
    """
    from abplatform.cli.simulate_report import as_json, as_text

    show = as_json if options.pop("format") == "json" else as_text
    given = {name for name in options if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    scenario = checked_scenario(given, **options)
    click.echo(show(scenario, _run(scenario)), nl=False)


def _run(scenario: Scenario) -> Outcomes:
    import numpy as np

    from abplatform.stats.simulate import simulate

    try:
        rng, trial, procedure = np.random.default_rng(scenario.seed), scenario.trial(), scenario.procedure()
        with progress_bar("simulating", scenario.repetitions) as report:
            return simulate(trial, procedure, repetitions=scenario.repetitions, rng=rng, report=report)
    except ValueError as error:
        raise click.UsageError(f"these numbers cannot be simulated: {error}") from error
