"""Power of t tests: tails of the noncentral t distribution, of one test or of two at once, by quadrature.

With s the standard error's own noise (``s^2 freedom`` is chi-square) and z standard normal, a test claims when
``z + near > critical s`` and, for equivalence, ``far - z > critical s`` as well. One of the two variables is
integrated in closed form, the other by Gauss-Legendre: s where it varies little, z where it varies much. Unlike
library functions, which turn NaN or lose half their digits far out, this stays within 1e-10 of the exact value from
2 degrees of freedom on (1e-12 from 3 on), and within 2e-8 between 1 and 2.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from abplatform.stats.validation import FloatArray

_POINTS, _WEIGHTS = special.roots_legendre(64)
_TAIL = 1e-17
_EDGE = 9.0
_FEW = 8.0
_NORMAL = 1e9
"""Degrees of freedom beyond which t is normal: their quantiles differ by less than (z^3 + z) / 4e9."""


@np.errstate(all="ignore")
def claim_probability(near: FloatArray, far: FloatArray, critical: FloatArray, freedom: FloatArray) -> FloatArray:
    """Return P(z + near > critical s and far - z > critical s); ``far`` is infinite for a single test.

    Two tests of equivalence share z exactly for absolute margins. Relative margins give the tests weights of
    control that differ by twice the margin, and this is then a lower bound.

    Args:
        near: noncentrality of the test against the lower margin, any shape.
        far: noncentrality of the test against the upper margin.
        critical: critical value of t, above 0.
        freedom: degrees of freedom, at least 1; infinite for normal tests.

    >>> round(float(claim_probability(*map(np.asarray, (2.8, np.inf, 1.984, 98.0)))), 4)
    0.7919
    """
    near, far, critical, freedom = np.broadcast_arrays(near, far, critical, freedom)
    probability = np.full(near.shape, np.nan)
    known = np.isfinite(near) & ~np.isnan(far) & np.isfinite(critical) & ~np.isnan(freedom)
    normal = known & (freedom > _NORMAL)
    wide = known & ~normal & ((critical > 0.8 * np.sqrt(2 * freedom)) | (freedom < _FEW))
    for rule, mask in ((_known_error, normal), (_over_normal, wide), (_over_error, known & ~normal & ~wide)):
        if mask.any():
            probability[mask] = rule(near[mask], far[mask], critical[mask], freedom[mask])
    return np.asarray(np.clip(probability, 0.0, 1.0))


def _both_claim(near: FloatArray, far: FloatArray, bar: FloatArray) -> FloatArray:
    claims = special.ndtr(near - bar)
    # The second margin doubles the work where there is one.
    return np.maximum(claims - special.ndtr(bar - far), 0.0) if np.isfinite(far).any() else np.asarray(claims)


def _known_error(near: FloatArray, far: FloatArray, critical: FloatArray, _: FloatArray) -> FloatArray:
    return _both_claim(near, far, critical)


def _over_error(near: FloatArray, far: FloatArray, critical: FloatArray, freedom: FloatArray) -> FloatArray:
    """Integrate over s, up to where two margins leave no room; its density is narrow and smooth."""
    half = freedom / 2
    low = np.sqrt(special.gammaincinv(half, _TAIL) / half)
    high = np.sqrt(special.gammainccinv(half, _TAIL) / half)
    x, weights = _nodes(low, high)
    density = np.exp((2 * half[:, None] - 1) * np.log(x) - half[:, None] * (np.square(x) - 1))
    constant = (weights * density).sum(axis=-1)
    if np.isfinite(far).any():
        x, weights = _nodes(low, np.clip((near + far) / (2 * critical), low, high))
        density = np.exp((2 * half[:, None] - 1) * np.log(x) - half[:, None] * (np.square(x) - 1))
    claims = _both_claim(near[:, None], far[:, None], critical[:, None] * x)
    return np.asarray((weights * density * claims).sum(axis=-1) / constant)


def _over_normal(near: FloatArray, far: FloatArray, critical: FloatArray, freedom: FloatArray) -> FloatArray:
    """Integrate over z, in two pieces: which of the two margins is nearer changes in the middle."""
    middle = np.clip((far - near) / 2, -_EDGE, _EDGE)
    total = np.zeros(near.shape)
    for low, high in ((np.maximum(-near, -_EDGE), middle), (middle, np.minimum(far, _EDGE))):
        z, weights = _nodes(low, np.maximum(low, high))
        room = np.maximum(np.minimum(z + near[:, None], far[:, None] - z), 0.0) / critical[:, None]
        chance = special.gammainc(freedom[:, None] / 2, freedom[:, None] / 2 * np.square(room))
        total += (weights * np.exp(-np.square(z) / 2) * chance).sum(axis=-1) / np.sqrt(2 * np.pi)
    return total


def _nodes(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    half = (high - low) / 2
    return ((low + high) / 2)[:, None] + half[:, None] * _POINTS, half[:, None] * _WEIGHTS
