"""Amounts of a column, exactly."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent, read_written_value
from abplatform.services.load.cells import Cells
from abplatform.services.read_table.texts import hint_for_number
from abplatform.warehouse.layout import MONEY, PLAIN_MONEY


def read_amounts(cells: Cells) -> pa.Array:
    """Amounts of at most 14 digits before the point and 6 behind; null where nothing stands."""
    type_ = cells.values.type
    if pa.types.is_decimal(type_) and type_.scale <= MONEY.scale and type_.precision - type_.scale <= 14:
        return cells.values.cast(MONEY)
    texts = cells.texts()
    plain = pc.match_substring_regex(texts, PLAIN_MONEY)
    amounts = pc.if_else(plain, texts, None).cast(MONEY)
    return cells.read_rest(amounts, texts, _read_amount, code="BAD_VALUE")


def _read_amount(text: str) -> Decimal | None:
    try:
        return read_written_value(text)
    except BadEvent as error:
        raise BadEvent(error.code, error.field, f"{error.detail.partition(': ')[2]}{hint_for_number(text)}") from None
