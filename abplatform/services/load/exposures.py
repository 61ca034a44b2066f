"""Exposures of a table as facts of the lake, with what this platform draws for their units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent
from abplatform.domain.suggestions import quote
from abplatform.errors import InvalidInput
from abplatform.services.agree import Place
from abplatform.services.load.request import EventRequest
from abplatform.services.load.rows import Identity, Rows
from abplatform.services.read_table.maps import join_maps
from abplatform.services.read_table.refusals import Mask, Refusals, as_mask
from abplatform.services.recall import Rules, Unpublished

# Rows that name an experiment or a phase that is not there are left out; with so many such names the column is wrong.
MOST_STRAY_NAMES = 1_000

_PHASE = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What rows say their units were exposed to.

    Attributes:
        known: each once.
        codes: for each row its position among them; -1 where the row is refused.
    """

    known: Sequence[Place]
    codes: npt.NDArray[np.int64]

    def keep(self, mask: Mask) -> Places:
        """Those of the rows where the mask is true."""
        return Places(known=self.known, codes=self.codes[mask])


def check_experiment(rules: Rules, request: EventRequest, unpublished: Unpublished) -> None:
    """Refuse an experiment that is named for all rows and takes none.

    Raises:
        InvalidInput: naming the option.
    """
    key = request.experiment.constant
    if key is None:
        return
    try:
        rules.find_phase(key, None if request.phase is None else 1, unpublished)
    except BadEvent as error:
        if error.code != "BAD_PHASE":
            option = "--phase" if error.field == "phase" else "--experiment-key"
            raise InvalidInput({option: [f"{key!r}: {error.detail.partition(': ')[2]}"]}) from None


def find_places(
    rows: Rows, refusals: Refusals, request: EventRequest, rules: Rules, unpublished: Unpublished
) -> Places:
    """What each row is an exposure to; rows that name nothing that there is are refused.

    Raises:
        InvalidInput: a column names far more than there is: it is another one than was meant.
    """
    named = _read_names(rows, refusals.good, request, unpublished)
    columns = {"experiment": request.experiment.column, "phase": request.phase}
    known: list[Place] = []
    numbers = np.full(len(named.distinct) + 1, -1, dtype=np.int64)
    faults: dict[tuple[str, str | None, str], list[int]] = {}
    for code, (key, phase) in enumerate(named.distinct):
        try:
            place = rules.find_phase(key, _read_phase(phase), unpublished)
        except BadEvent as error:
            column = columns[error.field]
            detail = error.detail if column is None else error.detail.partition(": ")[2]
            faults.setdefault((error.code, column, detail), []).append(code)
        else:
            numbers[code] = len(known)
            known.append(place)
    for (reason, column, detail), codes in faults.items():
        refusals.refuse(np.isin(named.codes, codes), column, detail, code=reason)
    places = Places(known=known, codes=numbers[named.codes])
    for number, place in enumerate(known):
        _check_place(rows, refusals, request, rules.unit_type, (place, places.codes == number))
    return places


def write_exposures(rows: Rows, places: Places, rules: Rules, identity: Identity) -> dict[str, pa.Array]:
    """The columns that exposures alone have, and those that identify them."""
    units = identity.name_units(rows)
    phases = pa.array([place.phase for place in places.known], pa.int32()).take(pa.array(places.codes))
    event_ids = identity.name_events(rows, units, [phases.cast(pa.string()), rows.variants])
    written = {"event_id": event_ids, "experiment": rows.names, "phase": phases, "variant": rows.variants}
    return written | _scatter(rows, places, units, rules.unit_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """The experiments and phases that rows name.

    Attributes:
        distinct: each once.
        codes: for each row its position among them; -1 where the row is refused.
    """

    distinct: Sequence[tuple[str, str | None]]
    codes: npt.NDArray[np.int64]


def _read_names(rows: Rows, good: Mask, request: EventRequest, unpublished: Unpublished) -> _Names:
    """What good rows name; memory grows with the rows, and not with how many names there are."""
    chosen = pa.array(good)
    keys, phases = rows.names.filter(chosen).dictionary_encode(), rows.phases.filter(chosen).dictionary_encode()
    _check_variety("--experiment", request.experiment.column, keys, unpublished)
    _check_variety("--phase", request.phase, phases, unpublished)
    # The last number of a phase stands for none.
    none = len(phases.dictionary)
    pairs = keys.indices.to_numpy().astype(np.int64) * (none + 1) + phases.indices.fill_null(none).to_numpy()
    distinct, inverse = np.unique(pairs, return_inverse=True)
    codes = np.full(len(good), -1, dtype=np.int64)
    codes[good] = inverse
    key_of, phase_of = keys.dictionary.to_pylist(), [*phases.dictionary.to_pylist(), None]
    return _Names(
        distinct=[(key_of[n // (none + 1)], phase_of[n % (none + 1)]) for n in distinct.tolist()], codes=codes
    )


def _check_variety(option: str, column: str | None, named: pa.DictionaryArray, unpublished: Unpublished) -> None:
    """Refuse a column that cannot be what it is said to be; it may hold unit ids, so that no cell is shown."""
    many = len(named.dictionary)
    if many <= MOST_STRAY_NAMES:
        return
    known = sorted(unpublished.statuses)
    if many > MOST_STRAY_NAMES + len(known):
        holds = f"{column!r} has {many:,} different values in {len(named):,} rows"
        there = f"the project has {len(known):,} experiments" + (f", such as {quote(known[:3])}" if known else "")
        raise InvalidInput({option: [f"{holds}; {there}. Is it the column of the {option.removeprefix('--')}?"]})


def _read_phase(text: str | None) -> int | None:
    if text is None:
        return None
    if _PHASE.fullmatch(text) is None:
        raise BadEvent("BAD_FIELD", "phase", "must be a whole number")
    return int(text)


def _check_place(
    rows: Rows, refusals: Refusals, request: EventRequest, default_type: str, found: tuple[Place, Mask]
) -> None:
    """Refuse rows of a place that lack its variant, or the id of a unit."""
    place, mask = found
    there = as_mask(pc.is_in(rows.variants, value_set=pa.array(place.variants, pa.string())))
    has = f"the experiment has no variant of that key in that phase; there is {quote(place.variants)}"
    refusals.refuse(mask & ~there, request.variant, has, code="UNKNOWN_VARIANT")
    for type_ in (place.unit_type, default_type) if place.clustered else (place.unit_type,):
        ids = rows.units.get(type_)
        lacking = mask if ids is None else mask & as_mask(pc.is_null(ids))
        detail = f"has no id of the type {type_!r}: such units are randomised or counted"
        refusals.refuse(lacking, None, detail, code="MISSING_FIELD")


def _scatter(rows: Rows, places: Places, units: dict[str, pa.Array], default_type: str) -> dict[str, pa.Array]:
    """What hangs on the place, from place to place, then in the order of the rows."""
    parts, positions = [], []
    # Of a place whose rows are all refused not even the unit type may be there.
    for code in np.unique(places.codes).tolist():
        chosen, place = places.codes == code, places.known[code]
        parts.append(_write_place(rows.keep(chosen), place, units, (default_type, pa.array(chosen))))
        positions.append(np.flatnonzero(chosen))
    if len(parts) == 1:
        return parts[0]
    order = pa.array(np.argsort(np.concatenate(positions)))
    return {name: pa.concat_arrays([part[name] for part in parts]).take(order) for name in parts[0]}


def _write_place(
    rows: Rows, place: Place, units: dict[str, pa.Array], default: tuple[str, pa.Array]
) -> dict[str, pa.Array]:
    default_type, chosen = default
    drawn = units[place.unit_type].filter(chosen)
    count = len(rows.numbers)
    attributes = {name: rows.properties[name] for name in place.attributes if name in rows.properties}
    distinct = rows.units[place.unit_type].dictionary_encode()
    return {
        "expected_variant": place.expect(distinct.dictionary).take(distinct.indices),
        "unit": units[default_type].filter(chosen) if place.clustered else drawn,
        "cluster": drawn if place.clustered else pa.nulls(count, pa.string()),
        "attributes": join_maps(attributes, count),
    }
