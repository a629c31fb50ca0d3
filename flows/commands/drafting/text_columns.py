"""Which columns of text one sequence is read from: several are joined, codes and addresses not."""

from collections.abc import Sequence

import polars as pl

from flows.commands.drafting.column_kinds import is_text
from flows.commands.drafting.targets import find_plain_target
from flows.commands.drafting.times import guess_formats

MIN_WORDS = 2.0
"""Median words from which one of several columns is read: one word is a code or a name."""

_CODES = r"\S*[0-9@/_:\\]\S*"
"""Words that are numbers, codes, mail addresses, paths or links."""

_WORDS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|\p{L}{2,}"
"""Words of two letters or more, and single characters of scripts without spaces."""


def choose_text_columns(
    sample: pl.DataFrame, own: Sequence[str], *, reserved: set[str], target: str | None
) -> list[str]:
    """Choose the columns that are read, the ones with the fewest words first.

    Long ones are last, so that only they are cut off at the largest length.

    Args:
        sample: the first rows.
        own: columns of texts.
        reserved: columns with the split and the time.
        target: the column to predict, where it is given.
    """
    texts = [name for name in own if name != target]
    others = [n for n in sample.columns if n not in own and n not in reserved]
    if target is None and find_plain_target(sample, others) is None:
        # One of the texts has to be the target.
        return texts[:1]
    # A title is shorter than what counts as a text where rows have times.
    shorter = [
        n for n in sample.columns if n not in {*own, *reserved, target} and is_text(sample[n])
    ]
    words = {name: count_words(sample[name]) for name in [*texts, *shorter]}
    joined = [n for n in sample.columns if words.get(n, 0) >= MIN_WORDS and not _is_time(sample[n])]
    return sorted(joined, key=lambda name: words[name]) or texts[:1]


def count_words(column: pl.Series) -> float:
    """Return the median number of words of a column of texts, without codes and addresses."""
    median = column.drop_nulls().str.replace_all(_CODES, " ").str.count_matches(_WORDS).median()
    return float(median) if isinstance(median, int | float) else 0.0


def explain_text_columns(sample: pl.DataFrame, columns: Sequence[str]) -> str:
    """Explain why several columns are read."""
    lengths = ", ".join(f"{name} ({count_words(sample[name]):.0f})" for name in columns)
    return (
        f"these texts are read one after the other, with a separator token between them; median "
        f"words: {lengths}; the longest is last, so that only it is cut off at max_length"
    )


def _is_time(column: pl.Series) -> bool:
    """Check whether the texts are dates or times."""
    return bool(guess_formats(column))
