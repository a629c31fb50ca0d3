r"""Python's regular expressions in the words of Polars' engine, where both mean the same.

Polars searches with Rust's regex crate, which has no look-around and no back-references, and whose
classes differ from Python's (`\w` takes combining marks, `\s` leaves out the separators 0x1c to
0x1f, `$` does not match before a last line feed). A pattern is translated node by node from
Python's own parse of it; what has no equal is refused, never approximated.
"""

import re
import re._constants as sre
import re._parser as parser
from typing import Any

CLASSES = {
    sre.CATEGORY_DIGIT: r"\p{Nd}",
    sre.CATEGORY_SPACE: r"\s\x1c-\x1f",
    sre.CATEGORY_WORD: r"\p{L}\p{N}_",
}

NEGATED = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
}

PLACES = {sre.AT_BEGINNING: r"\A", sre.AT_BEGINNING_STRING: r"\A", sre.AT_END_STRING: r"\z"}

LARGEST_COUNT = 1000
"""Rust expands counted repetitions; larger ones would pass its limit on compiled size."""


class UntranslatableError(ValueError):
    """A pattern, or a part of it, has no equal in Rust's engine."""


def to_rust(pattern: str) -> str:
    """Translate a pattern for a search anywhere in a text.

    Raises:
        UntranslatableError: it uses what Rust's engine lacks, or is no pattern at all.
    """
    try:
        tree = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UntranslatableError(f"'{pattern}' is no regular expression: {error}") from error
    if tree.state.flags & ~re.UNICODE:
        raise UntranslatableError(f"'{pattern}' sets flags")
    return sequence(tree, last=True)


def sequence(tree: Any, *, last: bool = False) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate nodes that follow each other; `last` tells that nothing comes after them."""
    nodes = list(tree)
    ends = [last and place == len(nodes) - 1 for place in range(len(nodes))]
    return "".join(
        node(code, value, last=end) for (code, value), end in zip(nodes, ends, strict=True)
    )


def node(code: Any, value: Any, *, last: bool) -> str:  # noqa: ANN401, PLR0911 - one line a kind
    """Translate one node of Python's parse."""
    match code:
        case sre.LITERAL:
            return character(value)
        case sre.NOT_LITERAL:
            return f"[^{character(value)}]"
        case sre.ANY:
            return "."
        case sre.IN:
            return charset(value)
        case sre.BRANCH:
            return f"(?:{'|'.join(sequence(branch, last=last) for branch in value[1])})"
        case sre.SUBPATTERN if not value[1] and not value[2]:
            return f"(?:{sequence(value[3], last=last)})"
        case sre.MAX_REPEAT | sre.MIN_REPEAT:
            return repeat(value, lazy=code == sre.MIN_REPEAT)
        case sre.AT if value in PLACES:
            return PLACES[value]
        case sre.AT if value == sre.AT_END and last:
            # Python's `$` also matches before a line feed that ends the text.
            return r"\n?\z"
    raise UntranslatableError(f"{str(code).lower()} has no equal in Polars")


def repeat(value: Any, *, lazy: bool) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate a repetition."""
    low, high, body = value
    if (high != sre.MAXREPEAT and high > LARGEST_COUNT) or low > LARGEST_COUNT:
        raise UntranslatableError(f"a repetition of more than {LARGEST_COUNT} times is too large")
    upper = "" if high == sre.MAXREPEAT else high
    return f"(?:{sequence(body)}){{{low},{upper}}}{'?' if lazy else ''}"


def charset(members: Any) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate a set of characters."""
    negated = members[0][0] == sre.NEGATE
    parts = [member(code, value) for code, value in members[negated:]]
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def member(code: Any, value: Any) -> str:  # noqa: ANN401 - the parser ships no types
    """Translate what belongs to a set: a character, a range of them, or a class."""
    if code == sre.LITERAL:
        return character(value)
    if code == sre.RANGE:
        return f"{character(value[0])}-{character(value[1])}"
    if value in CLASSES:
        return f"[{CLASSES[value]}]"
    if value in NEGATED:
        return f"[^{CLASSES[NEGATED[value]]}]"
    raise UntranslatableError(f"{str(code).lower()} has no equal in Polars")


def character(code_point: int) -> str:
    """Write one character so that no engine takes it for a sign.

    Raises:
        UntranslatableError: half of a surrogate pair is no character in UTF-8.
    """
    if 0xD800 <= code_point <= 0xDFFF:
        raise UntranslatableError("a lone surrogate is no character")
    return f"\\x{{{code_point:x}}}"
