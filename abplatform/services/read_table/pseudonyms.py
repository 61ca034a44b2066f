"""Columns of raw ids as pseudonyms."""

from __future__ import annotations

import pyarrow as pa

from abplatform.domain.pseudonym import Pseudonymiser


def pseudonymise_column(secret: bytes, unit_type: str, ids: pa.Array) -> pa.Array:
    """The pseudonym of each id, null where there is none; an id that comes again is hashed once.

    Args:
        secret: the installation's.
        unit_type: of the ids.
        ids: texts.
    """
    distinct = ids.dictionary_encode()
    made = Pseudonymiser(secret, unit_type).of(distinct.dictionary.to_pylist())
    return pa.array(made, pa.string()).take(distinct.indices)
