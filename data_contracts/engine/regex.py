r"""Translate Python's regular expressions for Polars' engine, where both match the same texts.

Polars searches with Rust's regex crate, which has no look-around and no back-references, and whose
classes differ from Python's (`\w` takes combining marks, `\s` leaves out the separators 0x1c to
0x1f, `$` does not match before a last line feed). A pattern is translated node by node from
Python's own syntax tree; what has no equivalent is refused, never approximated.
"""

import re
import re._constants as sre
import re._parser as parser
from typing import Any

_CLASSES = {
    sre.CATEGORY_DIGIT: r"\p{Nd}",
    sre.CATEGORY_SPACE: r"\s\x1c-\x1f",
    sre.CATEGORY_WORD: r"\p{L}\p{N}_",
}

_NEGATED = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
}

_ANCHORS = {sre.AT_BEGINNING: r"\A", sre.AT_BEGINNING_STRING: r"\A", sre.AT_END_STRING: r"\z"}

_MAX_REPETITIONS = 1000
"""Rust expands counted repetitions; larger ones would exceed its limit of the compiled size."""


class UntranslatableError(ValueError):
    """A pattern, or a part of it, has no equivalent in Rust's engine."""


def translate_to_rust(pattern: str) -> str:
    """Translate a pattern for a search anywhere in a text.

    Raises:
        UntranslatableError: it uses what Rust's engine lacks, or is not a valid pattern.
    """
    try:
        tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UntranslatableError(f"'{pattern}' is not a regular expression: {error}") from error
    if tree.state.flags & ~re.UNICODE:
        raise UntranslatableError(f"'{pattern}' sets flags")
    return _translate_sequence(tree, last=True)


def _translate_sequence(tree: Any, *, last: bool = False) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate consecutive nodes; `last` is true if nothing comes after them."""
    nodes = list(tree)
    ends = [last and index == len(nodes) - 1 for index in range(len(nodes))]
    return "".join(
        _translate_node(code, value, last=end)
        for (code, value), end in zip(nodes, ends, strict=True)
    )


def _translate_node(code: Any, value: Any, *, last: bool) -> str:  # noqa: ANN401, PLR0911 - one line a kind
    """Translate one node of Python's syntax tree."""
    match code:
        case sre.LITERAL:
            return _escape_character(value)
        case sre.NOT_LITERAL:
            return f"[^{_escape_character(value)}]"
        case sre.ANY:
            return "."
        case sre.IN:
            return _translate_set(value)
        case sre.BRANCH:
            return f"(?:{'|'.join(_translate_sequence(branch, last=last) for branch in value[1])})"
        case sre.SUBPATTERN if not value[1] and not value[2]:
            return f"(?:{_translate_sequence(value[3], last=last)})"
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            return _translate_repetition(value, lazy=code == sre.MIN_REPEAT)
        case sre.AT if value in _ANCHORS:
            return _ANCHORS[value]
        case sre.AT if value == sre.AT_END and last:
            # Python's `$` also matches before a line feed that ends the text.
            return r"\n?\z"
    raise UntranslatableError(f"{str(code).lower()} has no equivalent in Polars")


def _translate_repetition(value: Any, *, lazy: bool) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate a repetition."""
    low, high, body = value
    if (high != sre.MAXREPEAT and high > _MAX_REPETITIONS) or low > _MAX_REPETITIONS:
        raise UntranslatableError(
            f"a repetition of more than {_MAX_REPETITIONS} times is too large"
        )
    upper = "" if high == sre.MAXREPEAT else high
    return f"(?:{_translate_sequence(body)}){{{low},{upper}}}{'?' if lazy else ''}"


def _translate_set(members: Any) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate a set of characters."""
    negated = members[0][0] == sre.NEGATE
    parts = [_translate_member(code, value) for code, value in members[negated:]]
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _translate_member(code: Any, value: Any) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate a member of a set: a character, a range, or a class."""
    if code == sre.LITERAL:
        return _escape_character(value)
    if code == sre.RANGE:
        return f"{_escape_character(value[0])}-{_escape_character(value[1])}"
    if value in _CLASSES:
        return f"[{_CLASSES[value]}]"
    if value in _NEGATED:
        return f"[^{_CLASSES[_NEGATED[value]]}]"
    raise UntranslatableError(f"{str(code).lower()} has no equivalent in Polars")


def _escape_character(code_point: int) -> str:
    """Escape one character by its code point.

    Raises:
        UntranslatableError: half of a surrogate pair is not a character in UTF-8.
    """
    if 0xD800 <= code_point <= 0xDFFF:
        raise UntranslatableError("a lone surrogate is not a character")
    return f"\\x{{{code_point:x}}}"
