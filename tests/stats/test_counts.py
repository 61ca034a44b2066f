from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from abplatform.stats import sequential
from abplatform.stats.sequential.counts import CONCENTRATION, harm_p_value, log_harm_e_value


@pytest.mark.parametrize(("hit", "missed", "share"), [(3, 1, 0.5), (10, 4, 0.5), (2, 9, 0.3), (40, 3, 0.1)])
def test_the_e_value_is_the_average_likelihood_ratio_over_the_cut_prior(hit: int, missed: int, share: float) -> None:
    # Independent: adaptive quadrature of the definition.
    prior = stats.beta(CONCENTRATION * share, CONCENTRATION * (1 - share))

    def ratio(theta: float) -> float:
        return float(prior.pdf(theta)) * (theta / share) ** hit * ((1 - theta) / (1 - share)) ** missed

    area, _ = integrate.quad(ratio, share, 1, limit=200, epsrel=1e-10)
    expected = math.log(area / prior.sf(share))
    assert float(log_harm_e_value(hit, missed, share=share)) == pytest.approx(expected, abs=1e-7)


def test_false_alarms_stay_below_alpha_though_one_looks_at_every_event() -> None:
    # A/A: each converted unit is the treatment's with its share. Ville: at most .05, here 1,500 runs of 1,000 events.
    chance = np.random.default_rng(20261123)
    for share in (0.5, 0.1):
        hits = np.cumsum(chance.random((1500, 1000), dtype=np.float32) < share, axis=1)
        missed = np.arange(1, 1001) - hits
        alarmed = (harm_p_value(hits, missed, share=share) < 0.05).any(axis=1).mean()
        assert 0.005 < alarmed <= 0.05


def test_sixty_complaints_against_none_alarm_within_ten() -> None:
    p_values = harm_p_value(np.arange(61), 0, share=0.5)
    assert p_values[0] == 1.0
    assert (p_values[10:] < 0.05).all()
    assert p_values[60] < 1e-15


def test_fewer_complaints_than_in_control_never_alarm() -> None:
    assert (harm_p_value(np.arange(50), 60, share=0.5) > 0.5).all()
    assert float(harm_p_value(0, 10_000, share=0.5)) == 1.0


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="share"):
        sequential.harm_p_value(1, 1, share=1.0)
    with pytest.raises(ValueError, match="treatment"):
        sequential.harm_p_value(-1, 1, share=0.5)
    with pytest.raises(ValueError, match="control"):
        sequential.harm_p_value(1, 1.5, share=0.5)
    with pytest.raises(ValueError, match="control"):
        sequential.log_harm_e_value([1, 2], [1, 2, 3], share=0.5)
    with pytest.raises(ValueError, match="share"):
        sequential.log_harm_e_value([1, 2], 1, share=[0.1, 0.2, 0.3])
