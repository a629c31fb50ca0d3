"""Answers that are texts: cut into characters or byte pairs, and put together again.

Shapes: R rows, M symbols of all rows.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features import text
from models.features.config import TargetConfig, Unit
from models.features.steps import Floats, Integers
from models.features.text import TextInput, TextState

LONGEST = 1024
"""Symbols that a longer answer is cut to."""


def reading(column: str, unit: Unit, vocabulary: int) -> TextInput:
    """Return how an answer is cut."""
    return TextInput(
        column=column,
        tokenizer=unit,
        vocab_size=vocabulary,
        min_frequency=2 if unit == "bpe" else 1,
        max_length=LONGEST,
        normalize=("nfc",),
    )


def fit_symbols(answers: Iterable[pl.Series], config: TargetConfig) -> tuple[TextState, int]:
    """Choose the symbols of the training rows, and measure the longest answer.

    Raises:
        UnlearnableError: no row has an answer that holds anything.
    """
    held = [answer.cast(pl.String).alias(config.column) for answer in answers]
    read = reading(config.column, config.tokenizer, config.vocab_size)
    frames = (column.to_frame() for column in held)
    try:
        state = text.fit(frames, read)
    except UnlearnableError as error:
        raise UnlearnableError(f"target.{error}") from error
    lengths = [symbol_ids(column, read, state)[1] for column in held]
    longest = max((int(part.max()) for part in lengths if len(part)), default=0)
    return state, longest


def symbol_ids(column: pl.Series, read: TextInput, state: TextState) -> tuple[Floats, Integers]:
    """Turn texts into ids, and tell how many each row has; an empty text has none."""
    texts = column.cast(pl.String).alias(read.column)
    full_R = (texts.str.len_chars() > 0).fill_null(value=False).to_numpy()
    steps = text.transform(texts.filter(pl.Series(full_R)).to_frame(), read, state)
    lengths_R = np.zeros(len(texts), np.int64)
    lengths_R[full_R] = steps.stops_R - steps.starts_R
    return steps.values_NC[:, 0].astype(np.float32), lengths_R


def written(ids: Sequence[int], unit: str, state: TextState) -> str:
    """Put symbols together to a text; those that training never showed are left out."""
    known = [place for place in ids if place > 0]
    if unit == "bpe":
        joined: str = opened(state.model).decode([place - 1 for place in known])
        return joined.removeprefix(" ")
    return "".join(state.tokens[place - 1] for place in known)


@lru_cache(maxsize=8)
def opened(model: str) -> Any:  # noqa: ANN401 - the library's tokenizer
    """Open trained byte pairs, to read them back."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel

    tokenizer = Tokenizer.from_str(model)
    tokenizer.decoder = ByteLevel()
    return tokenizer
