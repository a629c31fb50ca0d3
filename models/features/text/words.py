"""Words: by spaCy's rules for a language, or by jieba for Chinese; spaces are no words.

spaCy tokenizes what is between spaces, with two exceptions that are tokenized as whole texts here:
rules that contain a space themselves, and a rule inside a longer piece, which has a lower priority
than one that contains a space. So the words are those of the library on the whole text, except for
runs of characters that are too long to be words.
"""

from functools import lru_cache, partial
from itertools import accumulate, pairwise
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.errors import SetupError
from models.extras import describe_install
from models.features.text.normalization import UNEVEN_SPACES
from models.features.text.pieces import (
    Cutter,
    Encoder,
    Pieces,
    Splitter,
    cache_pieces,
    concatenate_pieces,
    keep_texts_whole,
    rejoin_texts,
    split_at_spaces,
)

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokenizer import Tokenizer

_CHINESE_BLOCK = r"[\x{4E00}-\x{9FD5}a-zA-Z0-9+#&._%\-]+|[^\s\x1c-\x1f]"
"""jieba splits such runs, and every other character is a word."""

_BATCH_PIECES = 1000

_MAX_RUN_LENGTH = 8192
"""Most characters without a space that are split by spaCy, whose time grows with their square. A
longer run is one word, which is unknown."""


class WordTokenizer(NamedTuple):
    """How texts of one language are split into words."""

    cut: Cutter
    split: Splitter


@lru_cache(maxsize=8)
def build_word_tokenizer(language: str) -> WordTokenizer:
    """Return the tokenizer for the words of a language.

    Raises:
        SetupError: a package is missing, or spaCy does not know the language.
    """
    return _build_chinese_tokenizer() if language == "zh" else _build_spacy_tokenizer(language)


class _Rules(NamedTuple):
    """The rules of a tokenizer that depend on more than one piece."""

    spanning: list[str]
    """Rules that contain a space."""
    joining: dict[str, tuple[str, ...]]
    """Rules that apply inside pieces and change their words, with the words without the rule."""
    longest: int
    """Characters of the longest joining rule."""


def _build_chinese_tokenizer() -> WordTokenizer:
    """Return jieba with its dictionary in memory: its cache file could be written by anyone.

    Raises:
        SetupError: jieba is not installed.
    """
    try:
        import jieba
    except ImportError as error:
        raise SetupError(
            f"language 'zh' needs jieba, which is missing; {describe_install('spacy')}, or set "
            "tokenizer: bpe"
        ) from error
    cutter = jieba.Tokenizer()
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True

    def split(pieces: list[str]) -> list[tuple[str, ...]]:
        return [tuple(word for word in cutter.cut(piece) if word.strip()) for piece in pieces]

    return WordTokenizer(
        lambda texts: concatenate_pieces(texts.str.extract_all(_CHINESE_BLOCK)), cache_pieces(split)
    )


def _load_pipeline(language: str) -> "Language":
    """Return spaCy's blank pipeline for a language.

    Raises:
        SetupError: a package is missing, or spaCy does not know the language.
    """
    try:
        import spacy
    except ImportError as error:
        raise SetupError(
            f"tokenizer 'word' needs spaCy, which is missing; {describe_install('spacy')}, or set "
            "tokenizer: bpe"
        ) from error
    try:
        return spacy.blank(language)
    except ImportError as error:
        raise SetupError(
            f"language '{language}' has no tokenizer here: {error}. Install what it needs, name "
            "another language of spaCy's (xx fits any that puts spaces between words), or set "
            "tokenizer: bpe"
        ) from error


def _build_spacy_tokenizer(language: str) -> WordTokenizer:
    """Return spaCy's tokenizer, which works on pieces where it has rules, else on whole texts."""
    pipeline = _load_pipeline(language)
    # Shapes and norms of words are computed for each new word, and are not needed here.
    pipeline.vocab.lex_attr_getters = {}
    # Memory of a zone is freed after it, and only one zone may be open.
    lock = Lock()

    def splitter(tokenizer: "Tokenizer") -> Splitter:
        def split(pieces: list[str]) -> list[tuple[str, ...]]:
            with lock, pipeline.memory_zone():
                return _split_pieces(tokenizer, pieces)

        return cache_pieces(split)

    split = splitter(pipeline.tokenizer)
    if not hasattr(pipeline.tokenizer, "rules"):
        return WordTokenizer(keep_texts_whole, split)
    bare = _copy_without_rules(pipeline.tokenizer)
    rules = _find_wide_rules(pipeline.tokenizer, bare)
    mark = cache_pieces(partial(_mark_joining_pieces, rules, split, splitter(bare)))
    return WordTokenizer(partial(_cut_by_rules, rules, mark), split)


def _split_pieces(tokenizer: "Tokenizer", pieces: list[str]) -> list[tuple[str, ...]]:
    """Return the words of each piece; those without spaces are split in batches if it has rules."""
    if not hasattr(tokenizer, "rules"):
        return [_split_text(tokenizer, piece) for piece in pieces]
    plain = list(filter(_is_plain, pieces))
    known = dict(zip(plain, _split_together(tokenizer, plain), strict=True))
    return [
        known[piece] if piece in known else _split_long_text(tokenizer, piece) for piece in pieces
    ]


def _is_plain(piece: str) -> bool:
    """Return whether a piece is not empty, has no spaces, and is not too long."""
    return len(piece) <= _MAX_RUN_LENGTH and piece.split() == [piece]


def _split_text(tokenizer: "Tokenizer", text: str) -> tuple[str, ...]:
    """Return the words of one text."""
    return tuple(word.text for word in tokenizer(text) if not word.text.isspace())


def _split_long_text(tokenizer: "Tokenizer", text: str) -> tuple[str, ...]:
    """Return the words of one text, split at its spaces first if a run between them is too long."""
    runs = text.split() if len(text) > _MAX_RUN_LENGTH else []
    if max(map(len, runs), default=0) <= _MAX_RUN_LENGTH:
        return _split_text(tokenizer, text)
    return tuple(
        word
        for run in runs
        for word in ((run,) if len(run) > _MAX_RUN_LENGTH else _split_text(tokenizer, run))
    )


def _split_together(tokenizer: "Tokenizer", pieces: list[str]) -> list[tuple[str, ...]]:
    """Return the words of many pieces that are joined by line ends, which no rule crosses.

    A document of spaCy costs more than a word; without spaces its words are adjacent.
    """
    all_words: list[tuple[str, ...]] = []
    for first in range(0, len(pieces), _BATCH_PIECES):
        text = "\n".join([*pieces[first : first + _BATCH_PIECES], ""])
        stops = np.cumsum(tokenizer(text).to_array("LENGTH")).tolist()
        words = [text[start:stop] for start, stop in pairwise([0, *stops])]
        line_ends = [index for index, word in enumerate(words) if word == "\n"]
        all_words += [tuple(words[start + 1 : stop]) for start, stop in pairwise([-1, *line_ends])]
    return all_words


def _cut_by_rules(rules: "_Rules", mark_pieces: Encoder, texts: pl.Series) -> Pieces:
    """Return texts split at their spaces, except where a rule needs the whole text."""
    whole = texts.str.contains(UNEVEN_SPACES)
    if rules.spanning:
        whole |= texts.str.contains_any(rules.spanning)
    pieces = split_at_spaces(texts, whole)
    is_joining_U = np.array([flag for (flag,) in mark_pieces(pieces.words_U)], bool)
    return _rejoin_marked_texts(pieces, texts, is_joining_U)


def _mark_joining_pieces(
    rules: "_Rules", split: Splitter, bare: Splitter, pieces: list[str]
) -> list[tuple[int, ...]]:
    """Return (1,) for each piece in which a joining rule applies, else (0,)."""
    words = pl.Series(pieces, dtype=pl.String)
    joining = list(rules.joining)
    candidates = (words.str.contains_any(joining) & ~words.is_in(joining)).arg_true().to_numpy()
    # A rule that applies starts and ends at the edge of a word, which few of the pieces have.
    for split_piece in (split, bare):
        words_of_pieces = split_piece([pieces[index] for index in candidates])
        contains_rule = [
            _contains_rule(piece_words, rules, parts=split_piece is bare)
            for piece_words in words_of_pieces
        ]
        candidates = candidates[np.array(contains_rule, bool)]
    selected = set(candidates.tolist())
    return [(int(index in selected),) for index in range(len(pieces))]


def _rejoin_marked_texts(
    pieces: Pieces, texts: pl.Series, is_joining_U: NDArray[np.bool_]
) -> Pieces:
    """Return pieces in which texts with a marked piece, among several, are one piece."""
    if not is_joining_U.any():
        return pieces
    starts_R = pieces.starts_R
    is_joining_R = np.logical_or.reduceat(is_joining_U[pieces.codes_P], starts_R)
    return rejoin_texts(pieces, texts, is_joining_R & (pieces.stops_R - starts_R > 1))


def _copy_without_rules(tokenizer: "Tokenizer") -> "Tokenizer":
    """Return a copy of a tokenizer without its rules."""
    return type(tokenizer)(
        tokenizer.vocab,
        prefix_search=tokenizer.prefix_search,
        suffix_search=tokenizer.suffix_search,
        infix_finditer=tokenizer.infix_finditer,
        token_match=tokenizer.token_match,
        url_match=tokenizer.url_match,
    )


def _find_wide_rules(tokenizer: "Tokenizer", bare: "Tokenizer") -> _Rules:
    """Return the rules of a tokenizer that depend on more than one piece."""
    searches = (tokenizer.find_prefix, tokenizer.find_suffix, tokenizer.find_infix)
    joining = {
        rule: _split_text(bare, rule)
        for rule in tokenizer.rules
        if any(search(rule) for search in searches)
        and _split_text(bare, rule) != _split_text(tokenizer, rule)
    }
    spanning = [rule for rule in tokenizer.rules if any(map(str.isspace, rule.strip()))]
    return _Rules(spanning, joining, max(map(len, joining), default=0))


def _contains_rule(words: tuple[str, ...], rules: _Rules, *, parts: bool) -> bool:
    """Return whether some consecutive words are a joining rule.

    Args:
        words: of one piece.
        rules: the rules.
        parts: whether the words have to be those of the rule when it is split without it.
    """
    stops = list(accumulate(map(len, words), initial=0))
    piece = "".join(words)
    return any(
        piece[start:stop] in rules.joining
        and (not parts or rules.joining[piece[start:stop]] == words[first:last])
        for first, start in enumerate(stops)
        for last, stop in enumerate(stops[first + 1 : first + 1 + rules.longest], first + 1)
    )
