"""A translated pattern finds what Python's own finds; what has no equivalent is refused."""

import re
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.engine.regex import UntranslatableError, translate_to_rust

ALPHABET = [
    *"abAZz019_- .,\n\r\t|\x00\x1c\x1f\x85\xa0\u200b\u2028\u3000",
    *("\u00e9", "\u0301", "\u0308", "\u0661", "\u0bef", "\u00b2", "\u2167", "\u00df", "\u0130"),
    *("\u4e2d", "\U0001f600", "\u200d", "\u203f", "\u0903", "\u00aa", "\u24b6", "\ufe0f"),
]

# Of characters newer than Python's own Unicode only Rust knows the classes.
known = st.characters(exclude_categories=["Cn", "Cs"])

texts = st.lists(
    st.text(st.sampled_from(ALPHABET), max_size=6) | st.text(known, max_size=4),
    min_size=1,
    max_size=12,
)

classes = st.sampled_from([r"\d", r"\w", r"\s", r"\D", r"\W", r"\S"])
letters = st.sampled_from(ALPHABET).map(re.escape)
members = st.lists(classes | letters | st.sampled_from(["a-z", "0-9", r"\x00-\x7f"]), min_size=1)
charsets = st.builds(
    lambda negated, parts: f"[{negated}{''.join(parts)}]", st.sampled_from(["", "^"]), members
)
anchors = st.sampled_from(["^", "$", r"\A", r"\Z"])
leaves = st.one_of(classes, letters, charsets, st.just("."), anchors)
repeats = st.sampled_from(["", "*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{0,3}?"])


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map("|".join),
        st.builds("({}){}".format, inner, repeats),
        st.builds("(?:{}){}".format, inner, repeats),
    )


patterns = st.recursive(leaves, grow, max_leaves=6)


def found_by_polars(pattern: str, among: list[str]) -> list[bool]:
    return pl.Series(among, dtype=pl.String).str.contains(translate_to_rust(pattern)).to_list()


def found_by_python(pattern: str, among: list[str]) -> list[bool]:
    return [re.search(pattern, text) is not None for text in among]


@given(pattern=patterns, among=texts)
@settings(max_examples=400)
def test_a_translated_pattern_matches_the_same_as_in_python(pattern, among) -> None:
    try:
        translate_to_rust(pattern)
    except UntranslatableError as error:
        # Of these parts only a `$` that something may follow has no equivalent.
        assert "at_end" in str(error) or "at has no equivalent" in str(error), pattern  # noqa: PT017
        return

    assert found_by_polars(pattern, among) == found_by_python(pattern, among)


@pytest.mark.parametrize("name", ["d", "D", "w", "W", "s", "S"])
def test_every_character_belongs_to_the_same_classes(name) -> None:
    # Rust's tables are of a newer Unicode: it knows characters that Python has yet to learn.
    every = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in {"Cn", "Cs"}]
    pattern = rf"\{name}"

    ours = found_by_polars(pattern, every)

    theirs = found_by_python(pattern, every)
    odd = [hex(ord(c)) for c, a, b in zip(every, ours, theirs, strict=True) if a != b]
    assert odd == []


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"^\d{4}-\d\d-\d\d$", r"^[A-Z][a-z]+$", "^$", "$", "a$", "(a|b$)", "a|$", "^a|b$"),
        *(r"\$", r"[\w.-]+@[\w-]+", r"^\s*$", ".", "^.$", "[^a]", r"[^\w]", r"[^\W]", r"[\D\d]"),
        *("(?:a$)", "(?P<name>a)", "a{0}", "a{,3}", "", "[]]", "[^]]", r"\x41", r"\u00e9", r"\n$"),
    ],
)
def test_ordinary_patterns_are_translated_and_agree(pattern) -> None:
    among = ["", "a", "b", "ab", "a\n", "b\n\n", "\n", "2020-01-02", "2020-01-02\n", "Abc", "x@y"]
    among += ["\u0661", "\u00e9", "e\u0301", " ", "\x1c", "$", "]", "A", "aaaa", "-", "a\nb"]

    assert found_by_polars(pattern, among) == found_by_python(pattern, among)


@pytest.mark.parametrize(
    "pattern",
    [
        *("(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", r"(?P<x>a)(?P=x)", "(?i)a", "(?i:a)"),
        *("(?m)^a", "(?s).", "(?x)a b", "(?a)\\w", "(?>a)", "a++", r"\ba", r"\Ba", "a$b", "(a$)+"),
        *("(a)?(?(1)b|c)", "(", "[", "a{2000}", "a{3,2000}", "*", "\ud800", r"[\ud800-\ud801]"),
    ],
)
def test_a_pattern_without_an_equivalent_is_rejected(pattern) -> None:
    with pytest.raises(UntranslatableError):
        translate_to_rust(pattern)
