"""The one reader of JSON bodies: what JSON leaves open to surprises is refused here.

UTF-8 without a byte order mark, no duplicate keys, finite numbers of bounded length, no NUL and no lone surrogate in
any text, bounded nesting.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from abplatform.domain.checks import storable
from abplatform.errors import Unreadable

DEEPEST = 64
LONGEST_NUMBER = 64

_LONG_NUMBER = re.compile(rb"[-+.0-9eE]{%d}" % (LONGEST_NUMBER + 1))
_QUOTE, _COLON, _BLANK = ord('"'), ord(":"), ord(" ")
_FIRST_OF_NUMBERS, _SPAN_OF_NUMBERS = np.uint8(ord("+")), np.uint8(ord("9") - ord("+"))
_EXPONENT, _SMALL = np.uint8(ord("e")), np.uint8(0x20)
_ALL_EIGHT = np.uint64(0x0101010101010101)


def parse_json(body: bytes) -> Any:
    """Read strict JSON.

    Raises:
        Unreadable: saying what is wrong and, where there is one, at which path.

    >>> parse_json(b'{"weight": NaN}')
    Traceback (most recent call last):
    abplatform.errors.Unreadable: NaN is not a JSON number
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"the body is not valid UTF-8 (byte {error.start})") from None
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        # Unreadable is no ValueError, so the hooks' own refusals pass.
        raise Unreadable(f"the body is not valid JSON: {error}") from None
    _check_tree(value, texts_too=_may_hold_bad_text(text))
    return value


def surely_strict(text: bytes, keys: int) -> bool:
    """Whether JSON that a laxer typed reader has taken is strict too; False means that it has to be looked at closely.

    It never errs towards True. A key is a quote with a colon behind it: if there are no more of those than keys were
    kept, none stands twice.

    Args:
        text: valid JSON in valid UTF-8, of finite numbers and bounded depth.
        keys: how many keys the reader kept, in all objects together.
    """
    if b"\\" in text and any(escape in text for escape in (b"\\u0000", b"\\ud", b"\\uD")):
        return False
    codes = np.frombuffer(text, np.uint8)
    is_quote, behind = codes[:-1] == _QUOTE, codes[1:]
    if codes.min() <= _BLANK and (is_quote & (behind <= _BLANK)).any():
        return False  # A colon may stand behind the blank.
    if _may_hold_long_number(codes, text) and _LONG_NUMBER.search(text) is not None:
        return False
    is_quote &= behind == _COLON
    return bool(np.count_nonzero(is_quote) == keys)


def _may_hold_long_number(codes: npt.NDArray[np.uint8], text: bytes) -> bool:
    """Whether a number that is too long may stand there.

    Where one lies before the last bytes, seven neighbouring words of eight hold nothing but it.
    """
    whole = len(codes) // 8 * 8
    if _LONG_NUMBER.search(text, max(0, whole - LONGEST_NUMBER)) is not None:
        return True
    of_numbers = codes[:whole] - _FIRST_OF_NUMBERS <= _SPAN_OF_NUMBERS  # Commas and slashes, too.
    of_numbers |= codes[:whole] | _SMALL == _EXPONENT
    words = of_numbers.view(np.uint64) == _ALL_EIGHT
    for step in (1, 2, 3):
        words = words[:-step] & words[step:]
    return bool(words.any())


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Unreadable(f"the key {_shown(twice)} stands twice in one object")
    return values


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise Unreadable(f"a number has {len(text)} characters; at most {LONGEST_NUMBER} are read")
    return int(text)


def _finite(text: str) -> float:
    number = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(number):
        raise Unreadable(f"the number {_shown(text)} is out of range or too long")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_int=_integer, parse_float=_finite, parse_constant=_refuse_constant
)


def _may_hold_bad_text(text: str) -> bool:
    # Raw control characters are no JSON and UTF-8 has no surrogates: only escapes can bring them.
    return "\\u0000" in text or "\\ud" in text or "\\uD" in text


def _check_tree(root: Any, *, texts_too: bool) -> None:
    """Walk all objects and arrays depth first, by a stack of our own whose size is the depth.

    No input exhausts the interpreter's stack, and a wide one needs no memory beside itself.
    """
    if texts_too:
        _check_text(root, ())
    path: list[str | int] = []
    levels = [_children(root)] if isinstance(root, (dict, list)) else []
    while levels:
        for name, child in levels[-1]:
            if texts_too:
                _check_text(name, (*path, name))
                _check_text(child, (*path, name))
            if not isinstance(child, (dict, list)):
                continue
            if len(levels) >= DEEPEST:
                raise _too_deep()
            if child:
                levels.append(_children(child))
                path.append(name)
                break
        else:
            levels.pop()
            if path:
                path.pop()


def _children(node: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    return iter(node.items()) if isinstance(node, dict) else enumerate(node)


def _check_text(value: object, path: Sequence[str | int]) -> None:
    if isinstance(value, str) and not storable(value):
        place = _shown(".".join(map(str, path))) if path else "the top"
        raise Unreadable(f"a text at {place} holds NUL or a lone surrogate")


def _too_deep() -> Unreadable:
    return Unreadable(f"the body is nested deeper than {DEEPEST} levels")


def _shown(text: str) -> str:
    """A piece of the body that is safe and short enough to repeat in an answer."""
    return json.dumps(text[:80])
