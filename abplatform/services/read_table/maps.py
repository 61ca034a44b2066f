"""Several columns as one column of maps, the way the lake keeps attributes, properties and further units."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def join_maps(attributes: dict[str, pa.Array], count: int) -> pa.Array:
    """One map per row of the attributes that the row has."""
    if not attributes:
        return pa.MapArray.from_arrays(
            pa.array(np.zeros(count + 1, dtype=np.int32)), pa.array([], pa.string()), pa.array([], pa.string())
        )
    present = np.column_stack([values.is_valid().to_numpy(zero_copy_only=False) for values in attributes.values()])
    row, column = np.nonzero(present)
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(present.sum(axis=1), out=offsets[1:])
    values = pa.concat_arrays(list(attributes.values())).take(pa.array(column * count + row))
    keys = pa.array(list(attributes), pa.string()).take(pa.array(column))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values)
