"""One column of some rows: its texts, and the way to refuse rows for what stands in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent
from abplatform.services.read_table.refusals import Mask, Refusals, as_mask
from abplatform.services.read_table.texts import NOT_UTF_8, as_text

NUL = "\0"


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of some rows.

    Attributes:
        column: its name.
        values: as the file has them.
        refusals: which of the rows are refused so far.
    """

    column: str
    values: pa.Array
    refusals: Refusals

    def refuse(self, bad: pa.Array | Mask, code: str, detail: str) -> None:
        """Refuse rows; null means that the row is fine. The detail never repeats what stands in the cell."""
        self.refusals.refuse(bad if isinstance(bad, np.ndarray) else as_mask(bad), self.column, detail, code=code)

    def texts(self) -> pa.Array:
        """The cells as text, null where nothing stands; what is no UTF-8 is refused."""
        texts, unreadable = as_text(self.values)
        if unreadable.any():
            self.refuse(unreadable, "BAD_FIELD", NOT_UTF_8)
        return texts

    def names(self, *, most: int, required: bool = True) -> pa.Array:
        """The cells as texts of 1 to ``most`` characters that a database can hold."""
        texts = self.texts()
        if required:
            self.refuse(pc.is_null(texts), "MISSING_FIELD", "is missing")
        bad = pc.or_(pc.greater(pc.utf8_length(texts), most), pc.match_substring(texts, NUL))
        self.refuse(bad, "BAD_FIELD", f"must be 1 to {most} characters of valid text without NUL")
        return texts

    def read_rest(self, done: pa.Array, texts: pa.Array, read: Callable[[str], object], *, code: str) -> pa.Array:
        """What the fast way could not read, one by one.

        Args:
            done: what it could read; null where it could not.
            texts: of all cells; null where nothing stands.
            read: reads one, or raises `BadEvent`.
            code: what rows are refused for.
        """
        odd = as_mask(pc.and_(pc.is_valid(texts), pc.is_null(done))) & self.refusals.good
        if not odd.any():
            return done
        found: list[object] = []
        faults: dict[int, str] = {}
        for position, text in zip(np.flatnonzero(odd).tolist(), texts.filter(pa.array(odd)).to_pylist(), strict=True):
            try:
                found.append(read(text))
            except BadEvent as error:
                found.append(None)
                faults[position] = error.detail.removeprefix(f"{error.field}: ")
        bad = np.zeros(len(texts), dtype=np.bool_)
        bad[list(faults)] = True
        self.refusals.refuse(bad, self.column, faults.__getitem__, code=code)
        return pc.replace_with_mask(done, pa.array(odd), pa.array(found, done.type))
