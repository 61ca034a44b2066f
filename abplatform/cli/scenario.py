"""What ``abplatform simulate`` was asked for, checked, as the parts that the engine simulates with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from abplatform.stats.simulate import Population, Procedure, Trial

Data = Literal["bernoulli", "normal", "lognormal", "revenue"]
Method = Literal["sequential", "group_sequential", "fixed", "bayesian", "naive"]
Bounds = Literal["obrien_fleming", "pocock"]

DEFAULT_LOOKS = 20
MOST_LOOKS = 100_000
MOST_LOG_SD = 10
CAPS = (1e-12, 1e12)
"""The smallest and the largest cap."""
# What an option belongs to: elsewhere it would have no effect, and is refused.
_BELONGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rate": ("data", ("bernoulli", "revenue")),
    "mean": ("data", ("normal", "lognormal", "revenue")),
    "sd": ("data", ("normal", "lognormal", "revenue")),
    "cap": ("data", ("lognormal", "revenue")),
    "guard": ("method", ("sequential",)),
    "spending": ("method", ("group_sequential",)),
    "prior_scale": ("method", ("bayesian",)),
    "loss_threshold": ("method", ("bayesian",)),
    "looks": ("method", ("sequential", "group_sequential", "bayesian", "naive")),
    "every": ("method", ("sequential", "group_sequential", "bayesian", "naive")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A simulation. ``cap`` is a value; either ``looks`` or ``every`` is given."""

    method: Method
    effect: float
    data: Data
    rate: float
    mean: float
    sd: float
    cap: float | None
    split: tuple[float, float]
    units: int
    looks: int | None
    every: int | None
    alpha: float
    guard: bool
    spending: Bounds
    prior_scale: float
    loss_threshold: float | None
    repetitions: int
    seed: int

    def population(self) -> Population:
        """What units of the control do."""
        from abplatform.stats.simulate import Bernoulli, LogNormal, Normal

        if self.data == "bernoulli":
            return Bernoulli(self.rate)
        if self.data == "normal":
            return Normal(self.mean, self.sd)
        return LogNormal(self.mean, self.sd, self.rate if self.data == "revenue" else 1.0, self.cap)

    def trial(self) -> Trial:
        """The experiment to repeat."""
        from abplatform.stats.simulate import Trial, equally_spaced, every

        population, (control, treatment) = self.population(), self.split
        schedule = (
            every(self.units, self.every) if self.every is not None else equally_spaced(self.units, self.looks or 1)
        )
        return Trial(population, population.lifted(self.effect), schedule, treatment / (control + treatment))

    def procedure(self) -> Procedure:
        """How it is watched."""
        from abplatform.stats.group_sequential import Spending
        from abplatform.stats.simulate import Bayesian, Fixed, GroupSequential, NaivePeeking, Sequential

        if self.method == "sequential":
            return Sequential(self.units, self.alpha, self.guard)
        if self.method == "group_sequential":
            return GroupSequential(self.units, self.alpha, Spending(self.spending))
        if self.method == "bayesian":
            scale = self.prior_scale * abs(self.population().mean)
            return Bayesian(scale, 1 - self.alpha, self.loss_threshold, self.alpha)
        return Fixed(self.alpha) if self.method == "fixed" else NaivePeeking(self.alpha)

    def facts(self) -> dict[str, Any]:
        """Everything that has an influence on the result, by the names of the options."""
        known = asdict(self) | {"split": "/".join(digits(weight) for weight in self.split)}
        return {name: value for name, value in known.items() if self._matters(name) and value is not None}

    def _matters(self, name: str) -> bool:
        of, values = _BELONGS.get(name, ("method", (self.method,)))
        return getattr(self, of) in values


def checked_scenario(given: set[str], *, cap: tuple[bool, float] | None, **options: Any) -> Scenario:
    """Put options together, refusing those that contradict each other.

    Args:
        given: names of the options that were on the command line.
        cap: whether it is a quantile (in percent), and its value.
        options: the other fields of a ``Scenario``.

    Raises:
        click.UsageError: naming the option.
    """
    if options["looks"] is None and options["every"] is None:
        options["looks"] = 1 if options["method"] == "fixed" else min(DEFAULT_LOOKS, options["units"])
    scenario = Scenario(cap=None, **options)
    for name in sorted(given & _BELONGS.keys()):
        of, values = _BELONGS[name]
        if getattr(scenario, of) not in values:
            raise click.UsageError(f"{_option(name)} goes with --{of} {' or '.join(values)} only")
    _check_looks(scenario)
    _check_values(scenario)
    return scenario if cap is None else Scenario(**options, cap=_cap_value(scenario, *cap))


def _option(name: str) -> str:
    return "--guard/--no-guard" if name == "guard" else "--" + name.replace("_", "-")


def _check_looks(scenario: Scenario) -> None:
    if scenario.looks is not None and scenario.every is not None:
        raise click.UsageError("--looks and --every exclude each other")
    for hint, size in (("--looks", scenario.looks), ("--every", scenario.every)):
        if size is not None and size > scenario.units:
            raise click.BadParameter(f"must not exceed --units ({scenario.units:,})", param_hint=hint)
    if (scenario.looks or 0) > MOST_LOOKS:
        raise click.BadParameter(f"at most {MOST_LOOKS:,} looks", param_hint="--looks")
    if scenario.every is not None and scenario.units > MOST_LOOKS * scenario.every:
        raise click.BadParameter(f"would make more than {MOST_LOOKS:,} looks", param_hint="--every")


def _check_values(scenario: Scenario) -> None:
    if scenario.data == "bernoulli" and scenario.rate * (1 + scenario.effect) >= 1:
        raise click.BadParameter("would make the rate of the treatment 1 or more", param_hint="--effect")
    if scenario.data in {"lognormal", "revenue"} and scenario.sd > MOST_LOG_SD:
        raise click.BadParameter(f"of a logarithm must be at most {MOST_LOG_SD}", param_hint="--sd")
    if scenario.method == "bayesian" and scenario.alpha >= 0.5:
        raise click.BadParameter("must be below 0.5 with --method bayesian", param_hint="--alpha")


def _cap_value(scenario: Scenario, quantile: bool, value: float) -> float:
    from abplatform.stats.simulate import LogNormal

    cap = LogNormal(scenario.mean, scenario.sd).quantile(value / 100) if quantile else value
    if not CAPS[0] <= cap <= CAPS[1]:
        raise click.BadParameter(
            f"p{digits(value)} is {cap:g} here, not from {CAPS[0]:g} to {CAPS[1]:g}", param_hint="--cap"
        )
    return cap


def digits(value: float, sign: str = "-") -> str:
    """As many digits as tell a number from all others, at least those of ``:g``.

    Args:
        value: any finite number.
        sign: ``+`` to show it where the number is positive as well.

    >>> digits(0.05), digits(0.9999999999), digits(2.0, "+")
    ('0.05', '0.9999999999', '+2')
    """
    return next(text for places in range(6, 18) if float(text := f"{value:{sign}.{places}g}") == value)
