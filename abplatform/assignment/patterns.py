"""Patterns that are searched in linear time by construction: an automaton, and no backtracking.

A pattern becomes the position automaton of Glushkov (1961): one state per character of the pattern, no empty
transitions. Sets of states are the bits of integers. Each character of the input costs one step from a set to
the next; what follows a set is computed once and kept, which builds the deterministic automaton lazily and as
far as the inputs need it. These stores are bounded, and emptied when they are full.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import NamedTuple

from .characters import Characters, lower
from .pattern_syntax import Anchor, Choice, Node, One, Repeat, parse_pattern

MAX_INPUT = 1_000
MAX_STORED = 500

# Where an empty text can stand: at the start, between two characters, at the end, or in an empty input.
_START, _MIDDLE, _END, _ALONE = 1, 2, 4, 8
_ANYWHERE = _START | _MIDDLE | _END | _ALONE


class _Fragment(NamedTuple):
    """A part of a pattern: the states where a match of it can begin and end.

    Attributes:
        empty: the places where it matches the empty text.
        first: states that can read its first character.
        first_at_start: the same where it begins at the start of the input.
        last: states that can have read its last character.
        last_at_end: the same where it ends at the end of the input.
    """

    empty: int
    first: int = 0
    first_at_start: int = 0
    last: int = 0
    last_at_end: int = 0


_EMPTY = _Fragment(_ANYWHERE)


class Pattern:
    """A compiled pattern. Its stores change while it is used, which threads may do at the same time."""

    __slots__ = ("_followers", "_readers", "_whole")

    def __init__(self, pattern: str, *, ignore_case: bool = False) -> None:
        """Compile a pattern; with ``ignore_case``, characters are compared in lower case, each on its own.

        Raises:
            ValueError: the pattern is not of the subset; the message names the construct and its place.
        """
        builder = _Builder()
        self._whole = whole = builder.fragment(parse_pattern(pattern, ignore_case=ignore_case))
        self._readers = _Readers(builder.states, ignore_case)
        self._followers = _Followers(builder.steps, whole.first)

    def found_in(self, text: str) -> bool:
        """Tell whether the pattern matches somewhere in a text, in time proportional to the text's length."""
        whole, readers, followers = self._whole, self._readers, self._followers
        if not text or whole.empty & (_START | _END):
            return bool(whole.empty & (_START | _END | _ALONE))
        ready, reached = whole.first_at_start, 0
        for char in text:
            if not ready:
                return False
            reached = ready & readers[char]
            if reached & whole.last:
                return True
            ready = followers[reached]
        return bool(reached & whole.last_at_end)


class _Builder:
    """Numbers the states, and notes which of them follow which."""

    def __init__(self) -> None:
        self.states: dict[Characters, int] = defaultdict(int)
        self.steps: list[tuple[int, int]] = []
        self._next_state = 1

    def fragment(self, node: Node) -> _Fragment:
        if isinstance(node, One):
            return self._one(node.characters)
        if isinstance(node, Anchor):
            return _Fragment((_END if node.at_end else _START) | _ALONE)
        if isinstance(node, Choice):
            return self._choice(node.options)
        if isinstance(node, Repeat):
            return self._repeat(node)
        whole = _EMPTY
        for part in node.parts:
            whole = self._follow(whole, self.fragment(part))
        return whole

    def _one(self, characters: Characters) -> _Fragment:
        state = self._next_state
        self._next_state <<= 1
        self.states[characters] |= state
        return _Fragment(0, state, state, state, state)

    def _choice(self, options: tuple[Node, ...]) -> _Fragment:
        empty = first = first_at_start = last = last_at_end = 0
        for part in map(self.fragment, options):
            empty |= part.empty
            first |= part.first
            first_at_start |= part.first_at_start
            last |= part.last
            last_at_end |= part.last_at_end
        return _Fragment(empty, first, first_at_start, last, last_at_end)

    def _repeat(self, repeat: Repeat) -> _Fragment:
        least, most = repeat.least, repeat.most
        # What may be left out is nested, a(a(a)?)?, so that each copy is joined to one other only.
        tail = _EMPTY if most is not None or least else self._loop(self.fragment(repeat.node))._replace(empty=_ANYWHERE)
        for _ in range(0 if most is None else most - least):
            tail = self._follow(self.fragment(repeat.node), tail)._replace(empty=_ANYWHERE)
        whole = _EMPTY
        for index in range(least):
            copy = self.fragment(repeat.node)
            whole = self._follow(whole, self._loop(copy) if most is None and index == least - 1 else copy)
        return self._follow(whole, tail)

    def _loop(self, part: _Fragment) -> _Fragment:
        self._join(part, part)
        return part

    def _follow(self, left: _Fragment, right: _Fragment) -> _Fragment:
        self._join(left, right)
        return _Fragment(
            empty=left.empty & right.empty,
            first=left.first | (right.first if left.empty & _MIDDLE else 0),
            first_at_start=left.first_at_start | (right.first_at_start if left.empty & _START else 0),
            last=right.last | (left.last if right.empty & _MIDDLE else 0),
            last_at_end=right.last_at_end | (left.last_at_end if right.empty & _END else 0),
        )

    def _join(self, left: _Fragment, right: _Fragment) -> None:
        if left.last and right.first:
            self.steps.append((left.last, right.first))


class _Readers(dict[str, int]):
    """For each character, the states that can read it."""

    def __init__(self, states: dict[Characters, int], ignore_case: bool) -> None:
        super().__init__()
        self._ignore_case = ignore_case
        changes: dict[int, int] = defaultdict(int)
        for characters, mask in states.items():
            for low, high in characters:
                changes[low] ^= mask
                changes[high] ^= mask
        self._lows = [0]
        self._masks = [0]
        for low in sorted(changes):
            self._lows.append(low)
            self._masks.append(self._masks[-1] ^ changes[low])

    def __missing__(self, char: str) -> int:
        if len(self) >= MAX_STORED:
            self.clear()
        code = ord(lower(char) if self._ignore_case else char)
        mask = self[char] = self._masks[bisect_right(self._lows, code) - 1]
        return mask


class _Followers(dict[int, int]):
    """For each set of states that was reached, the states that may read the next character."""

    def __init__(self, steps: list[tuple[int, int]], always: int) -> None:
        super().__init__()
        self._steps = steps
        self._always = always

    def __missing__(self, reached: int) -> int:
        if len(self) >= MAX_STORED:
            self.clear()
        ready = self._always
        for last, first in self._steps:
            if reached & last:
                ready |= first
        self[reached] = ready
        return ready
