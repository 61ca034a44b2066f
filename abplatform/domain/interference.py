"""Units that change each other's numbers: what a comparison of single units then says, and what to do instead."""

from __future__ import annotations

from collections.abc import Sequence

from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.metric import Metric


def warn_of_spillover(
    definition: ExperimentDefinition, metrics: Sequence[Metric], *, single_units: bool
) -> tuple[str, ...]:
    """Sentences about metrics that spill over between units of which each was randomised for itself.

    Args:
        definition: what is randomised and what is counted.
        metrics: that it uses.
        single_units: whether units of the project's own type are counted, such as customers: units of another type may
            themselves be circles of those.
    """
    if definition.clustered or not single_units:
        return ()
    names = [metric.key for metric in metrics if metric.spills_over]
    if not names:
        return ()
    sentence = (
        f"{', '.join(names)}: what one unit does changes the number of others, and units are randomised one by one. "
        "What a treatment sets off, such as invitations, reaches units of the control: the effect is biased, often "
        "towards 0, and the interval is too narrow. Randomise whole circles of units instead: unit_type "
        f'"referral_circle" with analysis_unit "{definition.unit_type}".'
    )
    return (sentence,)
