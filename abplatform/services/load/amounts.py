"""Amounts of a column, exactly."""

from __future__ import annotations

import re
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent, read_value
from abplatform.services.load.cells import Cells

MONEY = pa.decimal128(20, 6)
_PLAIN = r"^-?[0-9]{1,14}(?:\.[0-9]{1,6})?$"
_DECIMAL = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,9})?")


def read_amounts(cells: Cells) -> pa.Array:
    """Amounts of at most 14 digits before the point and 6 behind; null where nothing stands."""
    type_ = cells.values.type
    if pa.types.is_decimal(type_) and type_.scale <= MONEY.scale and type_.precision - type_.scale <= 14:
        return cells.values.cast(MONEY)
    texts = cells.texts()
    plain = pc.match_substring_regex(texts, _PLAIN)
    amounts = pc.if_else(plain, texts, None).cast(MONEY)
    return cells.read_rest(amounts, texts, _read, code="BAD_VALUE")


def _read(text: str) -> Decimal | None:
    """An amount that is not written plainly, such as ``1.5e2``."""
    if _DECIMAL.fullmatch(text) is None:
        raise BadEvent("BAD_VALUE", "value", "must be a decimal number, such as 350.00")
    return read_value(Decimal(text))
