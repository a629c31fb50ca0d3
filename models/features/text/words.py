"""Words: spaCy's rules for a language, or jieba's dictionary for Chinese; spaces are no words.

spaCy works between spaces, with two exceptions that are cut as whole texts here: rules that span a
space themselves, and a rule inside a longer piece, which loses to one that would span a space.
So the words are those of the library on the whole text, but for runs that are too long to be words.
"""

from functools import lru_cache, partial
from itertools import accumulate, pairwise
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import UnlearnableError
from models.features.text.normalise import UNEVEN
from models.features.text.pieces import (
    Cutter,
    Encoder,
    Pieces,
    Splitter,
    at_spaces,
    end_to_end,
    in_one_piece,
    remembered,
    undivided,
)

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokenizer import Tokenizer

EXTRA = "install the extra 'spacy' (pip install 'ostinato[spacy]'), or set tokenizer: bpe"

CHINESE_BLOCK = r"[\x{4E00}-\x{9FD5}a-zA-Z0-9+#&._%\-]+|[^\s\x1c-\x1f]"
"""jieba works within such runs, and takes every other character for itself."""

PIECES_TOGETHER = 1000

LONGEST_RUN = 8192
"""Characters without a space that spaCy's rules are asked about: its time grows with the square of
their number. A longer run is one word, which nobody knows."""


class Words(NamedTuple):
    """How texts of one language are cut into words."""

    cut: Cutter
    split: Splitter


@lru_cache(maxsize=8)
def words_of(language: str) -> Words:
    """Build what cuts texts of a language into words.

    Raises:
        UnlearnableError: a package is missing, or spaCy does not know the language.
    """
    return chinese() if language == "zh" else spacy_words(language)


def chinese() -> Words:
    """Build jieba's dictionary in memory: its own cache is a file that anybody may have written."""
    try:
        import jieba
    except ImportError as error:
        raise UnlearnableError(f"language 'zh' needs jieba, which is missing; {EXTRA}") from error
    cutter = jieba.Tokenizer()
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True

    def split(pieces: list[str]) -> list[tuple[str, ...]]:
        return [tuple(word for word in cutter.cut(piece) if word.strip()) for piece in pieces]

    return Words(lambda texts: end_to_end(texts.str.extract_all(CHINESE_BLOCK)), remembered(split))


def blank_pipeline(language: str) -> "Language":
    """Open spaCy's tokenizer for a language.

    Raises:
        UnlearnableError: a package is missing, or spaCy does not know the language.
    """
    try:
        import spacy
    except ImportError as error:
        raise UnlearnableError(
            f"tokenizer 'word' needs spaCy, which is missing; {EXTRA}"
        ) from error
    try:
        return spacy.blank(language)
    except ImportError as error:
        raise UnlearnableError(
            f"language '{language}' has no tokenizer here: {error}. Install what it needs, name "
            "another language of spaCy's (xx fits any that puts spaces between words), or set "
            "tokenizer: bpe"
        ) from error


def spacy_words(language: str) -> Words:
    """Build spaCy's words, by pieces where its tokenizer works so."""
    pipeline = blank_pipeline(language)
    # Shapes and norms of words are worked out at every new word, and nobody asks for them here.
    pipeline.vocab.lex_attr_getters = {}
    # What is looked up in a zone is forgotten after it, and only one may be open.
    turn = Lock()

    def splitter(tokenizer: "Tokenizer") -> Splitter:
        def split(pieces: list[str]) -> list[tuple[str, ...]]:
            with turn, pipeline.memory_zone():
                return cut_each(tokenizer, pieces)

        return remembered(split)

    split = splitter(pipeline.tokenizer)
    if not hasattr(pipeline.tokenizer, "rules"):
        return Words(undivided, split)
    bare = without_rules(pipeline.tokenizer)
    rules = inner_rules(pipeline.tokenizer, bare)
    judge = remembered(partial(marks, rules, split, splitter(bare)))
    return Words(partial(cut_by_rules, rules, judge), split)


def cut_each(tokenizer: "Tokenizer", pieces: list[str]) -> list[tuple[str, ...]]:
    """Cut each piece into words, those without spaces together where the tokenizer has rules."""
    if not hasattr(tokenizer, "rules"):
        return [whole_text(tokenizer, piece) for piece in pieces]
    plain = list(filter(is_plain, pieces))
    known = dict(zip(plain, run_together(tokenizer, plain), strict=True))
    return [known[piece] if piece in known else by_rules(tokenizer, piece) for piece in pieces]


def is_plain(piece: str) -> bool:
    """Return whether a piece has no spaces, and something else of reasonable length."""
    return len(piece) <= LONGEST_RUN and piece.split() == [piece]


def whole_text(tokenizer: "Tokenizer", text: str) -> tuple[str, ...]:
    """Cut one text into words."""
    return tuple(word.text for word in tokenizer(text) if not word.text.isspace())


def by_rules(tokenizer: "Tokenizer", text: str) -> tuple[str, ...]:
    """Cut one text into words, at its spaces where something between them is too long."""
    runs = text.split() if len(text) > LONGEST_RUN else []
    if max(map(len, runs), default=0) <= LONGEST_RUN:
        return whole_text(tokenizer, text)
    return tuple(
        word
        for run in runs
        for word in ((run,) if len(run) > LONGEST_RUN else whole_text(tokenizer, run))
    )


def run_together(tokenizer: "Tokenizer", pieces: list[str]) -> list[tuple[str, ...]]:
    """Cut many pieces at once, each on a line of its own: no rule looks beyond the end of a line.

    A document costs more than a word; without blanks its words lie end to end.
    """
    lines: list[tuple[str, ...]] = []
    for first in range(0, len(pieces), PIECES_TOGETHER):
        text = "\n".join([*pieces[first : first + PIECES_TOGETHER], ""])
        stops = np.cumsum(tokenizer(text).to_array("LENGTH")).tolist()
        words = [text[start:stop] for start, stop in pairwise([0, *stops])]
        ends = [place for place, word in enumerate(words) if word == "\n"]
        lines += [tuple(words[start + 1 : stop]) for start, stop in pairwise([-1, *ends])]
    return lines


def cut_by_rules(rules: "Rules", judge: Encoder, texts: pl.Series) -> Pieces:
    """Cut texts at their spaces, wherever that is right."""
    whole = texts.str.contains(UNEVEN)
    if rules.spanning:
        whole |= texts.str.contains_any(rules.spanning)
    pieces = at_spaces(texts, whole)
    awkward_U = np.array([mark for (mark,) in judge(pieces.words_U)], bool)
    return put_together(pieces, texts, awkward_U)


def marks(
    rules: "Rules", split: Splitter, bare: Splitter, pieces: list[str]
) -> list[tuple[int, ...]]:
    """Mark with 1 the pieces in which a joining rule applies."""
    words = pl.Series(pieces, dtype=pl.String)
    joining = list(rules.joining)
    suspects = (words.str.contains_any(joining) & ~words.is_in(joining)).arg_true().to_numpy()
    # A rule that applies has edges of words around it; most suspects have none, and cost little.
    for judge in (split, bare):
        found = judge([pieces[place] for place in suspects])
        held = [holds_rule(each, rules, parts=judge is bare) for each in found]
        suspects = suspects[np.array(held, bool)]
    chosen = set(suspects.tolist())
    return [(int(place in chosen),) for place in range(len(pieces))]


def put_together(pieces: Pieces, texts: pl.Series, awkward_U: NDArray[np.bool_]) -> Pieces:
    """Leave texts of several pieces whole where one of these is awkward."""
    if not awkward_U.any():
        return pieces
    starts_R = pieces.starts_R
    awkward_R = np.logical_or.reduceat(awkward_U[pieces.codes_P], starts_R)
    return in_one_piece(pieces, texts, awkward_R & (pieces.stops_R - starts_R > 1))


class Rules(NamedTuple):
    """The rules of a tokenizer that look beyond a piece."""

    spanning: list[str]
    """Those with a space inside."""
    joining: dict[str, tuple[str, ...]]
    """Those that are looked for inside pieces and change what is cut, with the words in which they
    are looked for."""
    longest: int
    """Characters of the longest of these."""


def without_rules(tokenizer: "Tokenizer") -> "Tokenizer":
    """Copy a tokenizer, but for its rules."""
    return type(tokenizer)(
        tokenizer.vocab,
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        token_match=tokenizer.token_match,
        url_match=tokenizer.url_match,
    )


def inner_rules(tokenizer: "Tokenizer", bare: "Tokenizer") -> Rules:
    """Tell a tokenizer's rules that look beyond a piece."""
    searches = (tokenizer.find_prefix, tokenizer.find_suffix, tokenizer.find_infix)
    joining = {
        rule: whole_text(bare, rule)
        for rule in tokenizer.rules
        if any(search(rule) for search in searches)
        and whole_text(bare, rule) != whole_text(tokenizer, rule)
    }
    spanning = [rule for rule in tokenizer.rules if any(map(str.isspace, rule.strip()))]
    return Rules(spanning, joining, max(map(len, joining), default=0))


def holds_rule(words: tuple[str, ...], rules: Rules, *, parts: bool) -> bool:
    """Return whether some words, one after the other, are a joining rule.

    Args:
        words: those of a piece.
        rules: what is looked for.
        parts: whether they have to be the very words in which the rule is looked for.
    """
    stops = list(accumulate(map(len, words), initial=0))
    piece = "".join(words)
    return any(
        piece[start:stop] in rules.joining
        and (not parts or rules.joining[piece[start:stop]] == words[first:last])
        for first, start in enumerate(stops)
        for last, stop in enumerate(stops[first + 1 : first + 1 + rules.longest], first + 1)
    )
