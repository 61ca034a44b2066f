"""Amounts of a column, exactly."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import read_written_value
from abplatform.services.load.cells import Cells
from abplatform.warehouse.layout import MONEY, PLAIN_MONEY


def read_amounts(cells: Cells) -> pa.Array:
    """Amounts of at most 14 digits before the point and 6 behind; null where nothing stands."""
    type_ = cells.values.type
    if pa.types.is_decimal(type_) and type_.scale <= MONEY.scale and type_.precision - type_.scale <= 14:
        return cells.values.cast(MONEY)
    texts = cells.texts()
    plain = pc.match_substring_regex(texts, PLAIN_MONEY)
    amounts = pc.if_else(plain, texts, None).cast(MONEY)
    return cells.read_rest(amounts, texts, read_written_value, code="BAD_VALUE")
