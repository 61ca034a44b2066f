"""Choose what a name stands for that results are sliced by: a behaviour, an attribute of exposures, or a period."""

from __future__ import annotations

from collections.abc import Sequence

from abplatform.domain.dimension import PERIODS, Dimension, split_version
from abplatform.domain.suggestions import suggest
from abplatform.errors import InvalidInput, NotFound
from abplatform.storage.behaviours import StoredBehaviour
from abplatform.storage.session import Work


def choose_dimension(work: Work, project: str, name: str, declared: Sequence[str]) -> Dimension:
    """The dimension of a name.

    A behaviour comes before an attribute of its name. None can be made of the name of an attribute that an experiment
    that has started slices by: what results mean never changes by it.

    Args:
        work: where behaviours are read.
        project: key of the project.
        name: of a behaviour (``rfm``, its newest version, or ``rfm@2``), of a declared dimension or of a period.
        declared: the dimensions of the experiment.

    Raises:
        InvalidInput: naming ``by`` where it is none of them, or the behaviour has had no such version.
    """
    found = _find_behaviour(work, project, name)
    if found is not None:
        return Dimension(name=name, behaviour=found.behaviour)
    if name in declared:
        return Dimension(name=name)
    if name in PERIODS:
        return Dimension(name=name, period=PERIODS[name])
    behaviours = [stored.key for stored in work.behaviours.all(project)]
    options = tuple(dict.fromkeys((*declared, *PERIODS, *behaviours)))
    hint = suggest(name, options)
    if not hint.endswith("?"):  # The sentence lists them already.
        hint = "; of attributes only those that the experiment names in its dimensions"
    raise InvalidInput({"by": [f"must be one of {', '.join(options)}{hint}"]})


def find_version(work: Work, project: str, name: str) -> StoredBehaviour:
    """A version of a behaviour by ``KEY``, which is the newest, or ``KEY@VERSION``.

    Raises:
        NotFound: there is no such behaviour, or it has had no such version.
    """
    key, version = split_version(name)
    return work.behaviours.get(project, key) if version is None else work.behaviours.get_version(project, key, version)


def _find_behaviour(work: Work, project: str, name: str) -> StoredBehaviour | None:
    key, _ = split_version(name)
    if work.behaviours.find(project, key) is None:
        return None
    try:
        return find_version(work, project, name)
    except NotFound as error:
        raise InvalidInput({"by": [error.detail]}) from None
