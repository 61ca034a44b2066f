"""Stories of circles and villages: whole clusters are drawn, and the interval knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from abplatform.bootstrap import Platform
from abplatform.cli.stories import STORIES, invite_a_friend, rice_insurance
from abplatform.cli.stories.story import Floats, Mask, Positions, Story
from abplatform.stats import MeanStats, RatioStats
from abplatform.stats.fixed import compare
from abplatform.stats.results import Comparison
from abplatform.stats.sufficient import ArmStats
from tests.cli.tables import facts
from tests.e2e.stories.telling import (
    LEVEL,
    REPETITIONS,
    check_coverage,
    check_recovered,
    count_covered,
    repeat,
    result_of,
    telling,
)

INVITE, RICE = STORIES["invite-a-friend"], STORIES["rice-insurance-by-village"]


def stack(kind: type[RatioStats] | type[MeanStats], parts: Sequence[ArmStats]) -> ArmStats:
    """Statistics of many repetitions as one grid."""
    return kind(**{field.name: np.array([getattr(part, field.name) for part in parts]) for field in fields(kind)})


def compare_both_ways(story: Story, event: str, cluster: str, units: int) -> tuple[Comparison, ...]:
    """The comparisons over all repetitions: by clusters, and as if each unit had been drawn for itself."""
    whole: list[list[ArmStats]] = [[], []]
    single: list[list[ArmStats]] = [[], []]
    for repetition in repeat(story, units=units, cluster=cluster):
        counts = repetition.counts(event)
        _, place = np.unique(repetition.crowd.units[cluster], return_inverse=True)
        for arm, members in enumerate((repetition.treated, ~repetition.treated)):
            sizes = np.bincount(place[members])
            sums = np.bincount(place[members], weights=counts[members])
            whole[arm].append(RatioStats.of(sums[sizes > 0], sizes[sizes > 0]))
            single[arm].append(MeanStats.of(counts[members]))
    by_cluster = compare(stack(RatioStats, whole[0]), stack(RatioStats, whole[1]))
    return by_cluster, compare(stack(MeanStats, single[0]), stack(MeanStats, single[1]))


def test_intervals_by_circle_hold_and_those_per_user_do_not() -> None:
    """Source: the level, 95%, against the binomial; per user the share is below it by more than any chance."""
    by_circle, per_user = compare_both_ways(INVITE, "invited-registered", invite_a_friend.CIRCLE, 3000)
    check_coverage(count_covered(by_circle, invite_a_friend.EFFECT, scale="relative"))
    covered = count_covered(per_user, invite_a_friend.EFFECT, scale="relative")
    assert covered < stats.binom.ppf(1e-9, REPETITIONS, LEVEL), "the guide says 145"


def test_intervals_by_village_hold_and_those_per_household_do_not() -> None:
    by_village, per_household = compare_both_ways(
        RICE, "insurance-signed", rice_insurance.VILLAGE, rice_insurance.HOUSEHOLDS
    )
    check_coverage(count_covered(by_village, rice_insurance.EFFECT, scale="absolute"))
    covered = count_covered(per_household, rice_insurance.EFFECT, scale="absolute")
    assert covered < stats.binom.ppf(1e-3, REPETITIONS, LEVEL)


def test_invite_a_friend_is_found_by_circle_and_too_narrow_per_user(tmp_path: Path) -> None:
    with telling(tmp_path, INVITE, units=8000) as told:
        check_recovered(told)
        per_user = told.platform.results("default", invite_a_friend.PER_USER)
    widths = []
    for scorecard in (told.last, per_user):
        absolute = result_of(scorecard, "invited-registrations").comparisons[0].absolute
        assert absolute.lower is not None
        assert absolute.upper is not None
        widths.append(absolute.upper - absolute.lower)
    estimates = [
        result_of(card, "invited-registrations").comparisons[0].absolute.estimate for card in (told.last, per_user)
    ]
    assert estimates[0] == pytest.approx(estimates[1], rel=1e-12), "the same events"
    assert 1.5 < widths[0] / widths[1] < 2.5
    assert any("randomised one by one" in warning for warning in per_user.health.warnings)
    assert not any("randomised one by one" in warning for warning in told.last.health.warnings)


def test_rice_insurance_equals_a_cluster_robust_regression(tmp_path: Path) -> None:
    """Source: statsmodels' OLS with standard errors clustered by village, on the events as the lake keeps them.

    The small-sample factor of statsmodels is G / (G - 1) * (N - 1) / (N - 2) for all G villages and N households. The
    platform has G / (G - 1) in each arm for itself, as a regression of one arm on a constant has without (N - 1) / (N -
    1) = 1, and Welch's degrees of freedom from villages less 1.
    """
    with telling(tmp_path, RICE, units=rice_insurance.HOUSEHOLDS) as told:
        check_recovered(told)
        signed, treated, village = read_lake(told.platform)
    variances, villages = [], []
    for members in (treated, ~treated):
        _, error = regress(signed[members], village[members])
        variances.append(error**2)
        villages.append(np.unique(village[members]).size)
    error = np.sqrt(sum(variances))
    freedom = error**4 / sum(each**2 / (count - 1) for each, count in zip(variances, villages, strict=True))
    estimate, of_both = regress(signed, village, treated)
    half = stats.t.ppf(1 - 0.05 / 2, freedom) * error
    absolute = result_of(told.last, "insured").comparisons[0].absolute
    assert [absolute.estimate, absolute.lower, absolute.upper] == pytest.approx(
        [estimate, estimate - half, estimate + half], rel=1e-9
    )
    assert error == pytest.approx(of_both, rel=0.01), "166 villages: the factors differ by less than one percent"


def read_lake(platform: Platform) -> tuple[Floats, Mask, Positions]:
    """Of each household: did it sign, was it treated, and the number of its village."""
    exposed = facts(platform, "exposure")
    signed = {fact["unit"] for fact in facts(platform, "conversion")}
    _, village = np.unique([fact["cluster"] for fact in exposed], return_inverse=True)
    treated = np.array([fact["variant"] == "treatment" for fact in exposed])
    return np.array([float(fact["unit"] in signed) for fact in exposed]), treated, village


def regress(outcome: Floats, cluster: Positions, treated: Mask | None = None) -> tuple[float, float]:
    """The last coefficient, on the treatment if there is one, else on a constant, and its cluster-robust error."""
    columns = [np.ones(outcome.size)] + ([] if treated is None else [treated.astype(float)])
    fit = sm.OLS(outcome, np.column_stack(columns)).fit(cov_type="cluster", cov_kwds={"groups": cluster})
    return float(fit.params[-1]), float(fit.bse[-1])
