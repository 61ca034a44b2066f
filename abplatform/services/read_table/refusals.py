"""Which rows of a batch are refused, each with its first fault."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.services.read_table.source import RowFault

Mask = npt.NDArray[np.bool_]


class Refusals:
    """The refused rows of a batch.

    Args:
        numbers: row numbers of the batch, ascending.

    Attributes:
        good: which rows are not refused.
        faults: one for each row that is.
    """

    def __init__(self, numbers: npt.NDArray[np.int64]) -> None:
        self._numbers = numbers
        self.good: Mask = np.ones(len(numbers), dtype=np.bool_)
        self.faults: list[RowFault] = []

    def refuse(self, bad: Mask, column: str | None, detail: str | Callable[[int], str], *, code: str = "") -> None:
        """Refuse rows; ``detail`` may depend on the position of the row in the batch."""
        for position in np.flatnonzero(bad & self.good).tolist():
            text = detail if isinstance(detail, str) else detail(position)
            self.faults.append(RowFault(int(self._numbers[position]), column, text, code))
        self.good &= ~bad


def as_mask(values: pa.Array) -> Mask:
    """Booleans for numpy; null is false."""
    mask: Mask = pc.fill_null(values, fill_value=False).to_numpy(zero_copy_only=False)
    return mask
