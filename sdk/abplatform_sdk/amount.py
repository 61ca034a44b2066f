"""Amounts as the platform keeps them: decimals with 14 digits before the point and 6 behind."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from numbers import Integral, Real

_LIMIT = 10**14
_MICRO = Decimal("0.000001")
# 14 digits before the point and 6 behind fit with room to spare; more than that is refused first.
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)


def amount_text(value: object) -> str:
    """``value`` rounded half-even to 6 places, as plain decimal digits.

    A float counts as the shortest decimal that reads back as it (0.1 is 0.1). Any registered number works,
    NumPy's included.

    Raises:
        ValueError, TypeError, ArithmeticError: not a number, not finite, or 15 digits or more before the point.

    >>> amount_text(Decimal("350.00")), amount_text(0.1), amount_text("2.0000005"), amount_text(-0.0000001)
    ('350', '0.1', '2', '0')
    """
    amount = _as_decimal(value)
    if not amount.is_finite() or (amount.adjusted() >= 14 and amount != 0):
        raise ValueError("value must be finite, with at most 14 digits before the point")
    rounded = Decimal(0) if amount.adjusted() < -7 else amount.quantize(_MICRO, context=_CONTEXT)
    if abs(rounded) >= _LIMIT:
        raise ValueError("value must have at most 14 digits before the point after rounding")
    text = f"{rounded:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _as_decimal(value: object) -> Decimal:
    if isinstance(value, bool):
        raise TypeError("value must be a number")
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        return Decimal(str.__str__(value))
    if isinstance(value, Integral):
        whole = int(value)
        if abs(whole) >= _LIMIT:
            raise ValueError("value must have at most 14 digits before the point")
        return Decimal(whole)
    if isinstance(value, Real):
        return Decimal(repr(float(value)))
    raise TypeError("value must be a number")
