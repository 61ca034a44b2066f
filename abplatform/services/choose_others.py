"""Choose experiments that ran beside one: at the same time, on the same units."""

from __future__ import annotations

from collections.abc import Sequence

from abplatform.domain.dimension import Dimension, OtherExperiment
from abplatform.domain.experiment import Experiment
from abplatform.domain.phase import counted_span
from abplatform.domain.suggestions import suggest
from abplatform.errors import InvalidInput

OTHER_MARK = "experiment:"
"""What names of dimensions begin with that are other experiments."""


def find_others(experiment: Experiment, everything: Sequence[Experiment]) -> list[Experiment]:
    """All that ran beside an experiment, in its phase, each in its current one.

    Others randomise the same units in the same time, and share no layer with it, which lets no unit into both.

    Args:
        experiment: as it was in the phase.
        everything: all experiments of the project.
    """
    return [each for each in everything if _why_not(experiment, each) is None]


def choose_other(experiment: Experiment, everything: Sequence[Experiment], key: str, *, field: str) -> Experiment:
    """One of those that `find_others` finds, by its key.

    Args:
        experiment, everything: see `find_others`.
        key: of the other one.
        field: where somebody named it.

    Raises:
        InvalidInput: naming the field, where it does not exist or did not run beside the experiment.
    """
    by_key = {each.key: each for each in everything}
    if key not in by_key:
        raise InvalidInput({field: [f"there is no experiment {key!r}{suggest(key, by_key)}"]})
    reason = _why_not(experiment, by_key[key])
    if reason is not None:
        raise InvalidInput({field: [f"{key} {reason}"]})
    return by_key[key]


def as_dimension(other: Experiment, *, name: str) -> Dimension:
    """A dimension that slices by the variants of another experiment, in its current phase."""
    since, until = counted_span(other)
    served = other.definition.assignment == "served"
    return Dimension(
        name=name,
        experiment=OtherExperiment(
            key=other.key,
            phase=other.phase,
            variants=tuple(variant.key for variant in other.definition.variants),
            since=since,
            enrolled_until=other.closed_at if served else None,
            until=until,
        ),
    )


def _why_not(one: Experiment, other: Experiment) -> str | None:
    """Why another experiment cannot interact with one, or it cannot be asked; None where it may."""
    mine, theirs = one.definition, other.definition
    rules = (
        (one.key == other.key, "is the experiment itself"),
        (other.status == "draft", "has not started"),
        (mine.clustered or theirs.clustered, "cannot be crossed: clusters are not supported yet"),
        (mine.unit_type != theirs.unit_type, f"randomises {theirs.unit_type!r}, not {mine.unit_type!r}"),
        (
            mine.layer is not None and mine.layer == theirs.layer,
            f"is in the same layer {mine.layer!r}, which lets no unit into both",
        ),
        (not _overlap(one, other), f"did not run at the same time as phase {one.phase} of {one.key}"),
    )
    return next((reason for holds, reason in rules if holds), None)


def _overlap(one: Experiment, other: Experiment) -> bool:
    """Whether two phases were on at one time; of external experiments nobody knows, and so their units tell."""
    spans = [counted_span(each) for each in (one, other)]
    begun = [begin for begin, _ in spans if begin is not None]
    ended = [end for _, end in spans if end is not None]
    return not begun or not ended or max(begun) < min(ended)
