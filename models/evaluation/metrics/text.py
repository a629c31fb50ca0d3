"""Distance of a predicted text from the target: edits, and the counts of BLEU.

Shapes: R rows, L characters or words of the longest text, G n-gram lengths.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import Floats, TextPredictions

_MAX_NGRAM = 4
"""Words of the longest n-grams of BLEU."""

_BLOCK_ROWS = 2048
"""Rows whose edit distances are computed at once."""

_TOKEN_BREAKS = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
"""Patterns and replacements of BLEU's default tokenizer (13a): it splits at punctuation, but not
within numbers."""


def compare_texts(targets: Sequence[str], predictions: Sequence[str | None]) -> TextPredictions:
    """Compare texts row by row; a missing prediction counts as an empty text."""
    texts = [text or "" for text in predictions]
    pairs = list(zip(targets, texts, strict=True))
    tokens = [(tokenize_13a(target), tokenize_13a(text)) for target, text in pairs]
    ngrams = [_count_ngram_matches(text, target) for target, text in tokens]
    words = [(target.split(), text.split()) for target, text in pairs]
    return TextPredictions(
        exact_match_R=np.array(
            [target == text for target, text in zip(targets, predictions, strict=True)], bool
        ),
        character_edits_R=compute_edit_distances(
            [(list(target), list(text)) for target, text in pairs]
        ),
        target_characters_R=np.array([len(target) for target, _ in pairs], np.float64),
        word_edits_R=compute_edit_distances(words),
        target_words_R=np.array([len(target) for target, _ in words], np.float64),
        matched_ngrams_RG=np.array([matches for matches, _ in ngrams], np.float64).reshape(
            -1, _MAX_NGRAM
        ),
        predicted_ngrams_RG=np.array([totals for _, totals in ngrams], np.float64).reshape(
            -1, _MAX_NGRAM
        ),
        predicted_length_R=np.array([len(text) for _, text in tokens], np.float64),
        target_length_R=np.array([len(target) for target, _ in tokens], np.float64),
    )


def tokenize_13a(text: str) -> list[str]:
    """Split a text as BLEU's default tokenizer (13a) does."""
    padded = f" {text} "
    for pattern, replacement in _TOKEN_BREAKS:
        padded = pattern.sub(replacement, padded)
    return padded.split()


def compute_edit_distances(pairs: Sequence[tuple[list[str], list[str]]]) -> Floats:
    """Count the edits between two lists of tokens (Levenshtein 1966), block by block."""
    distances = [
        _compute_block_distances(pairs[at : at + _BLOCK_ROWS])
        for at in range(0, len(pairs), _BLOCK_ROWS)
    ]
    return np.concatenate(distances) if distances else np.empty(0)


def _count_ngram_matches(prediction: list[str], target: list[str]) -> tuple[list[int], list[int]]:
    """Count the shared and the predicted n-grams of one to four words, by length."""
    matches, totals = [], []
    for size in range(1, _MAX_NGRAM + 1):
        predicted, target_ngrams = _count_ngrams(prediction, size), _count_ngrams(target, size)
        matches.append((predicted & target_ngrams).total())
        totals.append(predicted.total())
    return matches, totals


def _count_ngrams(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    """Count the n-grams of `size` words."""
    return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def _compute_block_distances(pairs: Sequence[tuple[list[str], list[str]]]) -> Floats:
    """Compute the edit distances of all pairs at once, one column of their tables at a time."""
    codes: dict[str, int] = {}
    first_RL = _pad_codes([first for first, _ in pairs], codes, filler=-1)
    second_RL = _pad_codes([second for _, second in pairs], codes, filler=-2)
    sizes = np.array([(len(first), len(second)) for first, second in pairs])
    positions_L = np.arange(second_RL.shape[1] + 1)
    costs_RL = np.tile(positions_L, (len(pairs), 1)).astype(np.float64)
    distances = np.where(sizes[:, 0] == 0, sizes[:, 1], 0).astype(np.float64)
    for step in range(first_RL.shape[1]):
        substituted = costs_RL[:, :-1] + (second_RL != first_RL[:, step : step + 1])
        best = np.minimum(costs_RL[:, 1:] + 1, substituted)
        best = np.concatenate([costs_RL[:, :1] + 1, best], axis=1)
        # An insertion costs 1 for each position, so the best ones are a running minimum.
        costs_RL = np.minimum.accumulate(best - positions_L, axis=1) + positions_L
        finished = np.flatnonzero(sizes[:, 0] == step + 1)
        distances[finished] = costs_RL[finished, sizes[finished, 1]]
    return distances


def _pad_codes(rows: list[list[str]], codes: dict[str, int], *, filler: int) -> NDArray[np.int64]:
    """Encode lists of tokens as integers, padded to [R, L]."""
    longest = max(map(len, rows), default=0)
    table = np.full((len(rows), longest), filler, np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = [codes.setdefault(part, len(codes)) for part in row]
    return table
