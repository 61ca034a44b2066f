from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportions_chisquare

from abplatform.stats.srm import equal_shares_p_value


@pytest.mark.parametrize(("part", "total"), [([500, 580], [1000, 1000]), ([3, 9, 4], [100, 120, 90])])
def test_equal_shares_p_value_equals_statsmodels(part: list[int], total: list[int]) -> None:
    assert float(equal_shares_p_value(part, total)) == pytest.approx(proportions_chisquare(part, total)[1], rel=1e-10)


@pytest.mark.parametrize(("part", "total"), [([0, 0], [5, 5]), ([5, 5], [5, 5]), ([0, 1], [0, 5])])
def test_shares_without_variation_or_units_have_no_p_value(part: list[int], total: list[int]) -> None:
    assert np.isnan(equal_shares_p_value(part, total))


def test_a_part_above_its_total_is_refused() -> None:
    with pytest.raises(ValueError, match="part"):
        equal_shares_p_value([6, 1], [5, 5])
