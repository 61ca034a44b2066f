"""Regular expressions: what they match, against Python's `re` and Node's `RegExp`; what they cost; what is refused."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abplatform.assignment import pattern_syntax, patterns
from abplatform.assignment.pattern_syntax import MAX_DEPTH, MAX_PATTERN, MAX_STATES
from abplatform.assignment.patterns import MAX_INPUT, Pattern
from tests.assignment.test_vectors import find_program

# Few characters, so that random texts match often: letters with case, a sign with a meaning, Han, astral, NUL.
ALPHABET = "abAB1_ .\n-é\u00c9Яя汉😀\0"
ASCII_SETS = {
    r"\d": r"0-9",
    r"\w": r"0-9A-Za-z_",
    r"\s": r"\t-\r ",
    r"\D": r"\x00-/:-\U0010ffff",
    r"\W": r"\x00-/:-@\[-^`{-\U0010ffff",
    r"\S": r"\x00-\x08\x0e-\x1f!-\U0010ffff",
}


class Both(NamedTuple):
    """One pattern as we write it, and as Python's `re` does."""

    ours: str
    theirs: str


def pair(text: str) -> Both:
    return Both(text, text)


def same(template: str, *parts: Both) -> Both:
    return Both(*(template.format(*column) for column in zip(*parts, strict=True)))


def joined(separator: str, parts: list[Both]) -> Both:
    return Both(*(separator.join(column) for column in zip(*parts, strict=True))) if parts else pair("")


literals = st.sampled_from(ALPHABET).map(lambda char: Both(escaped(char), re.escape(char)))
members = st.one_of(
    st.sampled_from(ALPHABET).map(lambda char: Both(escaped(char, "-"), re.escape(char))),
    st.sampled_from(["a-b", "A-B", "0-9", "a-z", "A-z", "é-я", "\\x41-\\u0042"]).map(pair),
    st.sampled_from(sorted(ASCII_SETS)).map(lambda name: Both(name, ASCII_SETS[name])),
)
classes = st.builds(
    lambda negated, items: same("[" + "^" * negated + "{}]", joined("", items)),
    st.booleans(),
    st.lists(members, min_size=1, max_size=3),
)
atoms = st.one_of(
    literals,
    literals,
    classes,
    st.just(pair(".")),
    st.sampled_from(sorted(ASCII_SETS)).map(lambda name: Both(name, f"[{ASCII_SETS[name]}]")),
)
counts = st.one_of(
    st.sampled_from(["*", "+", "?"]),
    st.builds(lambda least, more: f"{{{least},{least + more}}}", st.integers(0, 3), st.integers(0, 3)),
    st.integers(0, 3).map(lambda count: f"{{{count},}}"),
    st.integers(0, 3).map(lambda count: f"{{{count}}}"),
)
ends = st.sampled_from([pair(""), Both("$", r"\Z")])
anchors = st.sampled_from([pair("^"), Both("$", r"\Z")])


def compounds(inner: st.SearchStrategy[Both]) -> st.SearchStrategy[Both]:
    groups = st.builds(same, st.sampled_from(["({})", "(?:{})"]), inner)
    return st.one_of(
        st.builds(lambda part, count: Both(part.ours + count, part.theirs + count), st.one_of(atoms, groups), counts),
        st.lists(st.one_of(atoms, anchors, groups), max_size=4).map(lambda parts: joined("", parts)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: same("({})", joined("|", parts))),
    )


pattern_pairs = st.builds(
    same,
    st.sampled_from(["{}", "^{}", "^({})"]),
    st.builds(same, st.just("{}{}"), st.recursive(st.one_of(atoms, anchors), compounds, max_leaves=10), ends),
)
texts = st.text(ALPHABET, max_size=8)


def escaped(char: str, more: str = "") -> str:
    return f"\\{char}" if char in "^$\\.*+?()[]{}|/" + more else char


def found(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    return Pattern(pattern, ignore_case=ignore_case).found_in(text)


@given(pattern_pairs, st.lists(texts, min_size=3, max_size=3))
@settings(derandomize=True, max_examples=1000, deadline=None)
def test_patterns_are_found_where_python_finds_them(pattern: Both, inputs: list[str]) -> None:
    ours, theirs = Pattern(pattern.ours), re.compile(pattern.theirs, re.DOTALL)
    for text in inputs:
        assert ours.found_in(text) == (theirs.search(text) is not None), text


@given(pattern_pairs, st.lists(texts, min_size=3, max_size=3))
@settings(derandomize=True, max_examples=600, deadline=None)
def test_without_case_patterns_are_found_where_python_finds_them(pattern: Both, inputs: list[str]) -> None:
    ours, theirs = Pattern(pattern.ours, ignore_case=True), re.compile(pattern.theirs, re.DOTALL | re.IGNORECASE)
    for text in inputs:
        assert ours.found_in(text) == (theirs.search(text) is not None), text


def test_patterns_are_found_where_node_finds_them() -> None:
    node = find_program("node", "nodejs")
    cases: list[tuple[str, str, str]] = []

    @given(pattern_pairs, texts, st.sampled_from(["us", "ius"]))
    @settings(derandomize=True, max_examples=600, deadline=None)
    def collect(pattern: Both, text: str, flags: str) -> None:
        cases.append((pattern.ours, flags, text))

    collect()
    script = (
        "const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(cases.map(([pattern, flags, text]) => new RegExp(pattern, flags).test(text))))"
    )
    answer = subprocess.run([node, "-e", script], input=json.dumps(cases), capture_output=True, text=True, check=True)
    theirs = json.loads(answer.stdout)
    assert set(theirs) == {True, False}
    ours = [found(pattern, text, ignore_case="i" in flags) for pattern, flags, text in cases]
    assert [case for case, one, other in zip(cases, ours, theirs, strict=True) if one != other] == []


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a$", "a\n", False),  # the end is the very end: Python's $ would accept the line feed
        ("^b", "a\nb", False),  # and the start the very start
        ("a.b", "a\nb", True),
        ("^.$", "😀", True),  # one character, though two UTF-16 units
        ("^.$", "\ud83d", True),  # a lone surrogate is one character
        ("^[^a]$", "\udfff", True),
        ("a\0b", "a\0b", True),
        ("\\x00", "a\0b", True),
        ("\\d", "٣", False),  # ASCII digits only
        ("\\w", "é", False),
        ("\\s", "\u00a0", False),
        ("\\S", "\u00a0", True),
        ("^\\s$", "\v", True),
        ("(^a|b$)+", "xb", True),
        ("(^)*a", "ba", True),
        ("$^", "", True),
        ("$^", "a", False),
        ("a{0}", "", True),
        ("^a{2,}$", "a", False),
        ("a-b", "a-b", True),
        ("/", "/", True),
        ("^[a-]$", "-", True),
        ("^[-a]$", "-", True),
        ("^[.$^|(){}*+?]$", ".", True),
        ("^[.]$", "a", False),
    ],
)
def test_what_patterns_mean(pattern: str, text: str, matches: bool) -> None:
    assert found(pattern, text) is matches


# Unicode Character Database: simple lower case mappings; K is the Kelvin sign, İ has two characters in lower case.
@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^ÉCOLE$", "école", True),
        ("^яндекс$", "ЯНДЕКС", True),
        ("^[a-z]$", "K", True),
        ("^[A-Z]$", "q", True),
        ("^[^a-z]$", "Q", False),
        ("^\\W$", "K", False),
        ("^\\w$", "K", True),
        ("^[À-Þ]$", "à", True),
        ("straße", "STRASSE", False),
        ("^straße$", "STRAẞE", True),
        ("^σ$", "Σ", True),
        ("^ς$", "Σ", False),
        ("^İ$", "İ", True),
        ("^i$", "İ", False),
        ("^𐐀$", "𐐨", True),
        ("\\x41", "a", True),
    ],
)
def test_without_case_each_character_is_compared_in_lower_case(pattern: str, text: str, matches: bool) -> None:
    assert found(pattern, text, ignore_case=True) is matches


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a)\\1", "character 4: a back reference (\\1) is not supported"),
        ("\\k<n>", "character 1: a back reference (\\k) is not supported"),
        ("a(?=b)", "character 2: look-ahead is not supported"),
        ("a(?!b)", "character 2: look-ahead is not supported"),
        ("(?<=a)b", "character 1: look-behind is not supported"),
        ("(?<!a)b", "character 1: look-behind is not supported"),
        ("(?<n>a)", "character 1: a named group is not supported"),
        ("(?P<n>a)", "character 1: a named group is not supported"),
        ("(?>a)", "character 1: an atomic group is not supported"),
        ("(?#a)", "character 1: a comment is not supported"),
        ("(?i)a", "character 1: an inline flag is not supported"),
        ("(?", "character 1: an inline flag is not supported"),
        ("a*?", "character 3: a lazy quantifier is not supported"),
        ("a{2}?", "character 5: a lazy quantifier is not supported"),
        ("a++", "character 3: a possessive quantifier is not supported"),
        ("a**", "character 3: a quantifier cannot follow another"),
        ("a{2}{3}", "character 5: a quantifier cannot follow another"),
        ("^*", "character 2: an anchor cannot be repeated"),
        ("a|*", "character 3: * has nothing to repeat"),
        ("(?:+)", "character 4: + has nothing to repeat"),
        ("{2}", "character 1: for { write \\{"),
        ("a}", "character 2: for } write \\}"),
        ("]", "character 1: for ] write \\]"),
        ("a{,3}", "character 2: a count is written {m}, {m,} or {m,n}; for a brace write \\{"),
        ("a{x}", "character 2: a count is written {m}, {m,} or {m,n}; for a brace write \\{"),
        ("a{1", "character 2: a count is written {m}, {m,} or {m,n}; for a brace write \\{"),
        ("a{٣}", "character 2: a count is written {m}, {m,} or {m,n}; for a brace write \\{"),
        ("a{3,2}", "character 2: the count ends below its start"),
        ("a\\bc", "character 2: a word boundary (\\b) is not supported"),
        ("[\\b]", "character 2: a word boundary (\\b) is not supported"),
        ("\\p{L}", "character 1: a Unicode property (\\p) is not supported"),
        ("a\\z", "character 2: an anchor other than ^ and $ (\\z) is not supported"),
        ("\\q", "character 1: \\q is no escape"),
        ("\\0", "character 1: \\0 is no escape"),
        ("\\-", "character 1: \\- is no escape"),
        ("\\汉", "character 1: \\汉 is no escape"),
        ("a\\", "character 2: a backslash at the end escapes nothing"),
        ("\\x4", "character 1: needs 2 hexadecimal digits"),
        ("\\u{41}", "character 1: needs 4 hexadecimal digits"),
        ("\\ud83d", "character 1: a surrogate is no character; write the character itself"),
        ("(a", "character 1: the group is not closed"),
        ("a)", "character 2: ) closes no group"),
        ("[a", "character 1: the class is not closed"),
        ("[a-", "character 4: the class is not closed"),
        ("[a\\", "character 3: a backslash at the end escapes nothing"),
        ("[]a]", "character 1: a class must not be empty; for ] write \\]"),
        ("[^]", "character 1: a class must not be empty; for ] write \\]"),
        ("[z-a]", "character 2: the range ends below its start"),
        ("[a-\\d]", "character 2: a range goes from one character to another"),
        ("[\\w-z]", "character 2: a range goes from one character to another"),
        ("[a-c-e]", "character 5: in a class write \\-"),
        ("[--a]", "character 3: in a class write \\-"),
        ("[[:alpha:]]", "character 2: in a class write \\["),
        ("(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1), "character 21: groups must not be nested deeper than 20"),
        ("a" * (MAX_PATTERN + 1), "must not have more than 256 characters"),
        (f"a{{{MAX_STATES + 1}}}", "character 2: must not need more than 500 states, with counts written out"),
        (f"a{{{9:0>200}}}{{", "character 204: a quantifier cannot follow another"),
        ("((a{9}){9}){9}", "character 12: must not need more than 500 states, with counts written out"),
        ("((^){99}){99}", "character 10: must not need more than 500 states, with counts written out"),
        ("(a{300})(b{300})", "must not need more than 500 states, with counts written out"),
    ],
)
def test_refusals_name_the_construct_and_its_place(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Pattern(pattern)


@given(st.text("()[]{}^$\\.*+?|-,:=!<aA19dwbxu\ud800😀", max_size=12), st.booleans(), texts)
@settings(derandomize=True, max_examples=1000, deadline=None)
def test_any_text_is_a_pattern_or_refused(pattern: str, ignore_case: bool, text: str) -> None:
    try:
        compiled = Pattern(pattern, ignore_case=ignore_case)
    except ValueError:
        return
    assert compiled.found_in(text) in {True, False}


# Each takes time that grows exponentially, or with a high power, in an engine that backtracks.
CATASTROPHIC = ["^(a|aa)+$", "(a+)+$", "(a|a)*b", "(.*)*x", "^((a{1,5}){1,5}){1,5}$", "^(([a-z])+.)+[A-Z]([a-z])+$"]
# And these have very many sets of states: the automaton is not built in full, and the stores overflow.
EXPLOSIVE = ["(a|b)*a(a|b){240}c", "a.{450}c", "(a.{20}|b.{30}|a.{40}|ab.{50}|aa.{60}|ba.{70}|bb.{80}|aab.{90})c"]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_catastrophic_patterns_take_a_few_lines_of_code_per_character(pattern: str) -> None:
    assert lines_run(pattern, "a" * (MAX_INPUT - 1) + "!") < 50 * MAX_INPUT


@pytest.mark.parametrize("pattern", [*CATASTROPHIC, *EXPLOSIVE])
def test_twice_the_input_takes_about_twice_the_work(pattern: str) -> None:
    text = "".join(random.Random(1).choices("ab", k=MAX_INPUT))
    # A part of the work is done once; and the longer text reaches larger sets of states, up to a bound.
    assert lines_run(pattern, text) < 2.5 * lines_run(pattern, text[: MAX_INPUT // 2])


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize("pattern", ["(a?){500}", "((((a?)*)*)*)*" * 10, "(" * 20 + "a?b?c?" * 8 + ")" * 20 + "{20}"])
def test_compiling_is_bounded_by_the_states(pattern: str, ignore_case: bool) -> None:
    Pattern("É", ignore_case=True)  # the table of capitals is made once in a process
    # About 40 lines for each state; a walk over pairs of states would take 250,000 and more.
    assert lines_run(pattern, "", ignore_case=ignore_case) < 100 * MAX_STATES


def lines_run(pattern: str, text: str, *, ignore_case: bool = False) -> int:
    """How many lines of the modules of patterns are run to compile a pattern and search a text."""
    files = {patterns.__file__, pattern_syntax.__file__}
    lines = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count if frame.f_code.co_filename in files else None

    before = sys.gettrace()
    sys.settrace(count)
    try:
        found(pattern, text, ignore_case=ignore_case)
    finally:
        sys.settrace(before)
    return lines


@given(pattern_pairs, texts)
@settings(derandomize=True, max_examples=500, deadline=None)
def test_answers_do_not_depend_on_what_is_stored(pattern: Both, text: str) -> None:
    roomy = found(pattern.ours, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "MAX_STORED", 1)
        assert found(pattern.ours, text) == roomy


def test_the_stores_are_bounded() -> None:
    pattern = Pattern("a.{450}c")
    generator = random.Random(1)
    for _ in range(5):
        pattern.found_in("".join(generator.choices("ab", k=MAX_INPUT)))
        pattern.found_in("".join(map(chr, generator.sample(range(0x10000), MAX_INPUT))))
    assert 0 < len(pattern._followers) <= patterns.MAX_STORED
    assert 0 < len(pattern._readers) <= patterns.MAX_STORED


def test_threads_share_a_pattern() -> None:
    pattern, generator = Pattern("a.{30}b"), random.Random(1)
    inputs = ["".join(generator.choices("abc", k=60)) for _ in range(400)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(pattern.found_in, inputs))
    assert answers == [re.search("a.{30}b", text) is not None for text in inputs]
    assert set(answers) == {True, False}
