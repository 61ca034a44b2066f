"""What every method asks of an arm."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from abplatform.stats.results import NotComputable
from abplatform.stats.validation import FloatArray, IntArray


class ArmStats(Protocol):
    """Statistics of one arm, over any grid of cells; both arms of a comparison are of the same class.

    Attributes:
        fixed_method: name of the fixed-horizon test of this kind of estimate.
        estimand: fields that say what is estimated (a level, a cap), and so must be equal in both arms.
        missing: why ``estimate`` is NaN where there are units.
        n: independent units behind each estimate (clusters, where those were randomised).
        estimate: the estimand of the arm (mean, rate, ratio, quantile); NaN where it does not exist.
        variance: estimated variance *of the estimate* that is the arm's own, not of the units; NaN below two units.
        shared_variance: further variance of the estimate that both arms of an experiment share, so that it
            cancels in their difference (a covariate's pooled mean, say); 0 for independent arms.
        freedom: degrees of freedom of ``variance``; ``None`` where tests are normal.
        cautions: ``Caution`` flags that belong to this arm.
    """

    fixed_method: ClassVar[str]
    estimand: ClassVar[tuple[str, ...]]

    @property
    def missing(self) -> NotComputable: ...

    @property
    def n(self) -> IntArray: ...

    @property
    def estimate(self) -> FloatArray: ...

    @property
    def variance(self) -> FloatArray: ...

    @property
    def shared_variance(self) -> FloatArray | float: ...

    @property
    def freedom(self) -> FloatArray | None: ...

    @property
    def cautions(self) -> NDArray[np.int64] | int: ...
