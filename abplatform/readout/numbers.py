"""Numbers as people read them: shares as percentages, amounts with separators, signs with a true minus."""

from __future__ import annotations

import math
import unicodedata

from abplatform.domain.scorecard import Interval

NOTHING = "–"
MINUS = "−"
UNBOUNDED = "∞"
_LENGTHS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def count(value: int) -> str:
    """A whole number with separators.

    >>> count(21306)
    '21,306'
    """
    return _minus(f"{value:,}")


def plural(number: int, thing: str) -> str:
    """So many of a thing.

    >>> plural(1, "file"), plural(21306, "event")
    ('1 file', '21,306 events')
    """
    return f"{count(number)} {thing}" if number == 1 else f"{count(number)} {thing}s"


def amount(value: float | None, *, signed: bool = False) -> str:
    """A mean or a difference of amounts: two places from 100 on, else four significant digits.

    >>> amount(1234.5), amount(0.652789), amount(-0.5, signed=True)
    ('1,234.50', '0.6528', '−0.5000')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    sign = "+" if signed else ""
    if value != 0 and abs(value) < 1e-4:
        return _minus(f"{value:{sign}.2e}")
    return _minus(f"{value:{sign},.{_places(value, 4, least=2)}f}")


def rate(value: float | None) -> str:
    """A share as a percentage with three significant digits below 1%.

    >>> rate(0.106167), rate(0.005726)
    ('10.62%', '0.573%')
    """
    return NOTHING if value is None or not math.isfinite(value) else _percent(value, signed=False)


def duration(seconds: float | None, *, signed: bool = False) -> str:
    """A time in its two largest units.

    >>> duration(180.0), duration(93_784.2), duration(-720.5, signed=True), duration(0.25)
    ('3 min', '1 d 2 h', '−12 min', '0.25 s')
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    sign = MINUS if seconds < 0 else "+" * signed
    size = abs(seconds)
    if size < 60:
        return f"{sign}{size:.{0 if size >= 10 or size == int(size) else 2}f} s"
    left, parts = round(size) if size < 3600 else 60 * round(size / 60), list[str]()
    for name, length in _LENGTHS:
        whole, left = divmod(left, length)
        if whole and len(parts) < 2:
            parts.append(f"{whole:,} {name}")
        elif parts:
            break
    return sign + " ".join(parts)


def lift(value: float | None) -> str:
    """A relative difference as a signed percentage.

    >>> lift(0.7214), lift(-0.0311), lift(12.4)
    ('+72.1%', '−3.11%', '+1,240%')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    percent = 100 * value
    return _minus(f"{percent:+,.{_places(percent, 3, least=0)}f}%")


def points(value: float | None) -> str:
    """A difference of two shares, in percentage points.

    >>> points(0.07659)
    '+7.66 pp'
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{_percent(value, signed=True)[:-1]} pp"


def p_value(value: float | None) -> str:
    """A p-value with four places, and no false zero.

    >>> p_value(0.03121), p_value(1e-9)
    ('0.0312', '<0.0001')
    """
    if value is None:
        return NOTHING
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def chance(value: float | None) -> str:
    """A probability as a percentage that is never rounded to certainty.

    >>> chance(0.973), chance(0.99999)
    ('97.3%', '>99.9%')
    """
    if value is None:
        return NOTHING
    if value > 0.999:
        return ">99.9%"
    return "<0.1%" if value < 0.001 else f"{100 * value:.1f}%"


def bounds(interval: Interval, *, kind: str) -> str:
    """The two bounds of an interval, or that it has none; one unbounded side is shown as infinite.

    Args:
        interval: whose bounds to write.
        kind: ``lift`` (relative), ``points`` (difference of shares), ``duration`` or ``amount``.
    """
    if interval.lower is None and interval.upper is None:
        return "no bounds"
    low = MINUS + UNBOUNDED if interval.lower is None else _difference(interval.lower, kind)
    high = "+" + UNBOUNDED if interval.upper is None else _difference(interval.upper, kind)
    return f"[{low.removesuffix(' pp')}, {high}]"


def _difference(value: float, kind: str) -> str:
    if kind == "amount":
        return amount(value, signed=True)
    if kind == "duration":
        return duration(value, signed=True)
    return lift(value) if kind == "lift" else points(value)


def visible(text: str) -> str:
    """The text without characters that could move the cursor, recolour a terminal or turn the reading direction.

    >>> visible("a\\x1b[31mb")
    'a\ufffd[31mb'
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(each).startswith("C") else each for each in text)


def _percent(share: float, *, signed: bool) -> str:
    percent = 100 * share
    sign = "+" if signed else ""
    if percent != 0 and abs(percent) < 1e-4:
        return _minus(f"{percent:{sign}.2e}%")
    return _minus(f"{percent:{sign},.{2 if abs(percent) >= 1 or percent == 0 else _places(percent, 3, least=2)}f}%")


def _places(value: float, digits: int, *, least: int) -> int:
    if value == 0:
        return least
    return max(least, min(8, digits - 1 - math.floor(math.log10(abs(value)))))


def _minus(text: str) -> str:
    return text.replace("-", MINUS, 1) if text.startswith("-") else text
