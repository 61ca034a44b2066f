"""The syntax of patterns: regular expressions without the constructs that cost more than linear time.

Every pattern read here is one of JavaScript too, with the flags ``us``. What each construct means, and what is
refused, stands in docs/assignment.md.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from .characters import ANY, DIGITS, SPACE, WORD, Characters, complement, union, with_lower_case

MAX_PATTERN = 256
MAX_DEPTH = 20
# Of characters and anchors, once counts are written out.
MAX_STATES = 500

_TOO_LARGE = f"must not need more than {MAX_STATES} states, with counts written out"


class Anchor(NamedTuple):
    """The start of the input, or its end."""

    at_end: bool


class One(NamedTuple):
    """One character out of a set."""

    characters: Characters


class Sequence(NamedTuple):
    """Parts that follow each other; none at all is the empty text."""

    parts: tuple[Node, ...]


class Choice(NamedTuple):
    """Alternatives."""

    options: tuple[Node, ...]


class Repeat(NamedTuple):
    """At least ``least`` and at most ``most`` times the same, None being no bound."""

    node: Node
    least: int
    most: int | None


Node = Anchor | One | Sequence | Choice | Repeat

_CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_HEX_LENGTHS = {"x": 2, "u": 4}
_DIGITS = frozenset("0123456789")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_SPECIAL = frozenset("^$\\.*+?()[]{}|/")
_COUNTS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_REFUSED_GROUPS = {
    "(?=": "look-ahead",
    "(?!": "look-ahead",
    "(?<=": "look-behind",
    "(?<!": "look-behind",
    "(?<": "a named group",
    "(?P": "a named group",
    "(?>": "an atomic group",
    "(?#": "a comment",
    "(?": "an inline flag",
}
_REFUSED_ESCAPES = {
    **dict.fromkeys("123456789k", "a back reference"),
    **dict.fromkeys("bB", "a word boundary"),
    **dict.fromkeys("pP", "a Unicode property"),
    **dict.fromkeys("AZz", "an anchor other than ^ and $"),
}


def parse_pattern(pattern: str, *, ignore_case: bool) -> Node:
    """Read a pattern; with ``ignore_case``, its sets also hold the lower case of their members.

    Raises:
        ValueError: the pattern is too long, too large or not of the subset; the message names the construct and
            its place, counted in characters from 1.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"must not have more than {MAX_PATTERN} characters")
    return _Parser(pattern, ignore_case).parse()


class _Parser:
    __slots__ = ("_at", "_depth", "_ignore_case", "_text")

    def __init__(self, text: str, ignore_case: bool) -> None:
        self._text = text
        self._ignore_case = ignore_case
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            self._refuse(self._at, ") closes no group")
        if count_states(node) > MAX_STATES:
            raise ValueError(_TOO_LARGE)
        return node

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._skip("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        parts = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._repeated())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self) -> Node:
        anchored = self._peek() in {"^", "$"}
        node = self._atom()
        start = self._at
        counts = self._counts()
        if counts is None:
            return node
        if anchored:
            self._refuse(start, "an anchor cannot be repeated")
        again = {"?": "a lazy quantifier is not supported", "+": "a possessive quantifier is not supported"}
        if self._peek() in {"?", "*", "+", "{"}:
            self._refuse(self._at, again.get(self._peek(), "a quantifier cannot follow another"))
        repeat = Repeat(node, *counts)
        # Asked at each count, since the message then has a place.
        if count_states(repeat) > MAX_STATES:
            self._refuse(start, _TOO_LARGE)
        return repeat

    def _counts(self) -> tuple[int, int | None] | None:
        start = self._at
        char = self._peek()
        if char in _COUNTS:
            self._at += 1
            return _COUNTS[char]
        if not self._skip("{"):
            return None
        least = self._digits()
        comma = self._skip(",")
        most = self._digits() if comma else least
        if not least or not self._skip("}"):
            self._refuse(start, "a count is written {m}, {m,} or {m,n}; for a brace write \\{")
        if most and int(most) < int(least):
            self._refuse(start, "the count ends below its start")
        return int(least), int(most) if most else None

    def _digits(self) -> str:
        start = self._at
        while self._peek() in _DIGITS:
            self._at += 1
        return self._text[start : self._at]

    def _atom(self) -> Node:
        start, char = self._at, self._next()
        if char == "(":
            return self._group(start)
        if char == "[":
            return One(self._class(start))
        if char == "\\":
            characters, _ = self._escape(start)
            return One(characters)
        if char in {"^", "$"}:
            return Anchor(at_end=char == "$")
        if char in _COUNTS:
            self._refuse(start, f"{char} has nothing to repeat")
        if char in {"{", "}", "]"}:
            self._refuse(start, f"for {char} write \\{char}")
        return One(ANY if char == "." else self._only(char, start))

    def _group(self, start: int) -> Node:
        if self._peek() == "?" and not self._skip("?:"):
            opening = next(opening for opening in _REFUSED_GROUPS if self._text.startswith(opening, start))
            self._refuse(start, f"{_REFUSED_GROUPS[opening]} is not supported")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(start, f"groups must not be nested deeper than {MAX_DEPTH}")
        node = self._choice()
        if not self._skip(")"):
            self._refuse(start, "the group is not closed")
        self._depth -= 1
        return node

    def _class(self, start: int) -> Characters:
        negated = self._skip("^")
        ranges: list[tuple[int, int]] = []
        if self._peek() == "]":
            self._refuse(start, "a class must not be empty; for ] write \\]")
        # A hyphen stands for itself as the first or the last character.
        if self._skip("-"):
            ranges.extend(self._only("-", start))
        while not self._skip("]"):
            if self._at == len(self._text):
                self._refuse(start, "the class is not closed")
            ranges.extend(self._members())
        characters = union(ranges)
        return complement(characters) if negated else characters

    def _members(self) -> Characters:
        if self._text.startswith("-]", self._at):
            return self._only(self._next(), self._at)
        start = self._at
        characters, low = self._member()
        if self._peek() != "-" or self._text.startswith("-]", self._at):
            return characters
        self._at += 1
        _, high = self._member()
        if low is None or high is None:
            self._refuse(start, "a range goes from one character to another")
        if low > high:
            self._refuse(start, "the range ends below its start")
        return self._cased(((low, high + 1),))

    def _member(self) -> tuple[Characters, int | None]:
        """Read one member of a class: its set and, if it stands for one character alone, the code point."""
        start, char = self._at, self._next()
        if char in {"-", "[", ""}:
            self._refuse(start, f"in a class write \\{char}" if char else "the class is not closed")
        return self._escape(start, in_class=True) if char == "\\" else (self._only(char, start), ord(char))

    def _escape(self, start: int, *, in_class: bool = False) -> tuple[Characters, int | None]:
        """Read what follows a backslash: a set, and the code point if it stands for one character alone."""
        char = self._next()
        if char.lower() in _CLASSES:
            characters = _CLASSES[char.lower()]
            return (characters if char.islower() else complement(characters)), None
        if char in _HEX_LENGTHS:
            literal = self._hex(start, _HEX_LENGTHS[char])
        elif char in _SPECIAL or (in_class and char == "-"):
            literal = char
        elif char in _CONTROLS:
            literal = _CONTROLS[char]
        else:
            self._refuse(start, self._refusal(char))
        return self._only(literal, start), ord(literal)

    def _refusal(self, char: str) -> str:
        if char == "":
            return "a backslash at the end escapes nothing"
        refused = _REFUSED_ESCAPES.get(char)
        return f"\\{char} is no escape" if refused is None else f"{refused} (\\{char}) is not supported"

    def _hex(self, start: int, length: int) -> str:
        digits = self._text[self._at : self._at + length]
        if len(digits) < length or not _HEX_DIGITS.issuperset(digits):
            self._refuse(start, f"needs {length} hexadecimal digits")
        self._at += length
        return chr(int(digits, 16))

    def _only(self, char: str, start: int) -> Characters:
        code = ord(char)
        if 0xD800 <= code <= 0xDFFF:
            self._refuse(start, "a surrogate is no character; write the character itself")
        return self._cased(((code, code + 1),))

    def _cased(self, characters: Characters) -> Characters:
        return with_lower_case(characters) if self._ignore_case else characters

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _skip(self, expected: str) -> bool:
        found = self._text.startswith(expected, self._at)
        self._at += len(expected) * found
        return found

    def _refuse(self, at: int, message: str) -> NoReturn:
        raise ValueError(f"character {at + 1}: {message}")


def count_states(node: Node) -> int:
    """Return how many states a pattern needs: at least one for each part of it, however often it is repeated."""
    if isinstance(node, Sequence):
        return max(sum(map(count_states, node.parts)), 1)
    if isinstance(node, Choice):
        return sum(map(count_states, node.options))
    if isinstance(node, Repeat):
        return count_states(node.node) * max(node.least, node.most or 1)
    return 1
