"""How far a written text lies from the right one: edits, and what BLEU counts.

Shapes: R rows, L characters or words of the longest text.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import Floats, TextPredictions

MAX_NGRAM = 4
"""Longest run of words that BLEU looks at."""

BLOCK = 2048
"""Rows that are compared at once."""

BREAKS = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
"""Where BLEU's usual tokenizer (13a) cuts: around signs, but not within numbers."""


def compare_texts(truth: Sequence[str], answers: Sequence[str | None]) -> TextPredictions:
    """Compare texts row by row; a row without an answer has written nothing."""
    said = [answer or "" for answer in answers]
    pairs = list(zip(truth, said, strict=True))
    cut = [(tokenize_13a(right), tokenize_13a(given)) for right, given in pairs]
    matched = [count_ngram_matches(given, right) for right, given in cut]
    plain = [(right.split(), given.split()) for right, given in pairs]
    return TextPredictions(
        same_R=np.array(
            [right == given for right, given in zip(truth, answers, strict=True)], bool
        ),
        edits_R=compute_edit_distances([(list(right), list(given)) for right, given in pairs]),
        characters_R=np.array([len(right) for right, _ in pairs], np.float64),
        word_edits_R=compute_edit_distances(plain),
        words_R=np.array([len(right) for right, _ in plain], np.float64),
        matches_RG=np.array([hits for hits, _ in matched], np.float64).reshape(-1, MAX_NGRAM),
        runs_RG=np.array([runs for _, runs in matched], np.float64).reshape(-1, MAX_NGRAM),
        predicted_length_R=np.array([len(given) for _, given in cut], np.float64),
        target_length_R=np.array([len(right) for right, _ in cut], np.float64),
    )


def tokenize_13a(text: str) -> list[str]:
    """Cut a text as BLEU's usual tokenizer does."""
    padded = f" {text} "
    for pattern, apart in BREAKS:
        padded = pattern.sub(apart, padded)
    return padded.split()


def count_ngram_matches(given: list[str], right: list[str]) -> tuple[list[int], list[int]]:
    """Count the runs of one to four words that both have, and those of the answer."""
    hits, runs = [], []
    for size in range(1, MAX_NGRAM + 1):
        own, wanted = count_ngrams(given, size), count_ngrams(right, size)
        hits.append((own & wanted).total())
        runs.append(own.total())
    return hits, runs


def count_ngrams(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    """Count runs of so many words."""
    return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def compute_edit_distances(pairs: Sequence[tuple[list[str], list[str]]]) -> Floats:
    """Count the edits between two rows of parts (Levenshtein 1966), block by block."""
    found = [compute_block_distances(pairs[at : at + BLOCK]) for at in range(0, len(pairs), BLOCK)]
    return np.concatenate(found) if found else np.empty(0)


def compute_block_distances(pairs: Sequence[tuple[list[str], list[str]]]) -> Floats:
    """Count the edits of all pairs together, a column of their tables at a time."""
    codes: dict[str, int] = {}
    first_RL = pad_codes([first for first, _ in pairs], codes, filler=-1)
    second_RL = pad_codes([second for _, second in pairs], codes, filler=-2)
    sizes = np.array([(len(first), len(second)) for first, second in pairs])
    places_L = np.arange(second_RL.shape[1] + 1)
    costs_RL = np.tile(places_L, (len(pairs), 1)).astype(np.float64)
    found = np.where(sizes[:, 0] == 0, sizes[:, 1], 0).astype(np.float64)
    for step in range(first_RL.shape[1]):
        changed = costs_RL[:, :-1] + (second_RL != first_RL[:, step : step + 1])
        best = np.minimum(costs_RL[:, 1:] + 1, changed)
        best = np.concatenate([costs_RL[:, :1] + 1, best], axis=1)
        # Adding parts costs one a step to the right, so the cheapest is a running minimum.
        costs_RL = np.minimum.accumulate(best - places_L, axis=1) + places_L
        over = np.flatnonzero(sizes[:, 0] == step + 1)
        found[over] = costs_RL[over, sizes[over, 1]]
    return found


def pad_codes(rows: list[list[str]], codes: dict[str, int], *, filler: int) -> NDArray[np.int64]:
    """Write rows of parts as numbers, side by side."""
    longest = max(map(len, rows), default=0)
    table = np.full((len(rows), longest), filler, np.int64)
    for place, row in enumerate(rows):
        table[place, : len(row)] = [codes.setdefault(part, len(codes)) for part in row]
    return table
