"""Power of a Bayesian plan: how often its rule decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.evidence import Evidence
from abplatform.stats.validation import FloatArray, positive

_STEPS = 40


@np.errstate(all="ignore")
def loss_advantage(loss: FloatArray) -> FloatArray:
    """Return the advantage a at which a standard normal posterior N(a, 1) has this expected loss; at least 0.

    Solves ``phi(a) - a Phi(-a) = loss``. The logarithm of the loss is concave and falls, so that Newton's steps
    approach the root from above whatever they start with. Losses above that of a = 0, ``1 / sqrt(2 pi)``, are 0.

    >>> round(float(loss_advantage(np.asarray(0.0833))), 3)
    1.0
    """
    goal = np.log(np.minimum(loss, 1 / np.sqrt(2 * np.pi)))
    advantage = np.sqrt(np.maximum(-2 * goal - np.log(2 * np.pi), 0.0))
    for _ in range(_STEPS):
        # Both without the factor exp(-a^2 / 2), which underflows.
        tail = special.erfcx(advantage / np.sqrt(2)) / 2
        scaled = 1 / np.sqrt(2 * np.pi) - advantage * tail
        step = (np.log(scaled) - np.square(advantage) / 2 - goal) * scaled / tail
        advantage = np.maximum(advantage + step, 0.0)
        if not (np.abs(step) > 1e-13 * (1 + advantage)).any():
            break
    return np.asarray(advantage)


@dataclass(frozen=True, slots=True)
class LossRule:
    """Ship when the expected loss is below a threshold and winning is likelier than losing (``stats.bayes``).

    With the prior ``N(0, tau^2)`` of the plan the posterior is ``N(w d, w se^2)``, ``w = tau^2 / (tau^2 + se^2)``;
    its advantage ``sqrt(w) d / se`` has to exceed the a at which ``sqrt(w) se (phi(a) - a Phi(-a))`` is the
    threshold. The rule is thus a bound on the observed difference d, and its power at a true effect is normal.
    It is read once, at the planned size; earlier looks add to it, and to its errors.

    Args:
        prior_scale: tau, standard deviation of the prior of the effect, above 0.
        loss_threshold: greatest acceptable expected loss, above 0.
        relative: whether both are shares of the magnitude of the control mean (as in plans), or in its units.

    Raises:
        ValueError: naming the argument that does not fit.
    """

    method: ClassVar[str] = "normal_normal"
    exact: ClassVar[bool] = False
    alpha: ClassVar[float] = 0.0
    assumptions: ClassVar[tuple[str, ...]] = (
        "the rule is read once, at the planned size",
        "normal estimates; units behave as in history",
    )

    prior_scale: float
    loss_threshold: float
    relative: bool = True

    def __post_init__(self) -> None:
        positive("prior_scale", self.prior_scale)
        positive("loss_threshold", self.loss_threshold)

    @np.errstate(all="ignore")
    def power(self, evidence: Evidence) -> FloatArray:
        """Return the probability that the rule chooses the treatment at the true effect.

        Raises:
            ValueError: naming ``goal`` when it is not superiority; margins are tested by the other methods.
        """
        if evidence.kind != "superiority":
            raise ValueError("goal must be superiority for a Bayesian rule")
        scale = evidence.magnitude if self.relative else np.ones(())
        root = 1 / np.hypot(1.0, evidence.standard_error / (self.prior_scale * scale))
        sd = root * evidence.standard_error
        return np.asarray(special.ndtr(evidence.near - loss_advantage(self.loss_threshold * scale / sd) / root))

    def expected_share(self, evidence: Evidence) -> FloatArray:
        """There is no early stop."""
        return np.ones(evidence.near.shape)

    def least_units(self, baseline: Baseline) -> FloatArray:  # noqa: ARG002 - the guard of other methods needs it
        """A variance needs two units."""
        return np.asarray(2.0)

    def at_level(self, alpha: float) -> LossRule:  # noqa: ARG002 - as in other methods
        """The rule has no error rate."""
        return self

    def at_last_look(self) -> LossRule:
        """It is read at the planned size only."""
        return self
