"""Targets that are texts: split into characters or byte pairs, and joined again.

Shapes: R rows, M symbols of all rows.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features import text
from models.features.config import SymbolTokenizer, TargetConfig
from models.features.steps import Floats, Integers
from models.features.text import TextInput, TextState

_MAX_SYMBOLS = 1024
"""Symbols that a longer target is truncated to."""


def build_text_input(column: str, tokenizer: SymbolTokenizer, vocab_size: int) -> TextInput:
    """Return the config of a text input that splits targets into symbols."""
    return TextInput(
        column=column,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        min_frequency=2 if tokenizer == "bpe" else 1,
        max_length=_MAX_SYMBOLS,
        normalize=("nfc",),
    )


def fit_symbols(targets: Iterable[pl.Series], config: TargetConfig) -> tuple[TextState, int]:
    """Return the symbols of the training rows, and the length of the longest target.

    Raises:
        UnlearnableError: all targets are missing or empty.
    """
    texts = [target.cast(pl.String).alias(config.name) for target in targets]
    text_input = build_text_input(config.name, config.tokenizer, config.vocab_size)
    frames = (column.to_frame() for column in texts)
    try:
        state = text.fit(frames, text_input)
    except UnlearnableError as error:
        raise UnlearnableError(f"target.{error}") from error
    lengths = [encode_symbols(column, text_input, state)[1] for column in texts]
    longest = max((int(lengths_R.max()) for lengths_R in lengths if len(lengths_R)), default=0)
    return state, longest


def encode_symbols(
    column: pl.Series, text_input: TextInput, state: TextState
) -> tuple[Floats, Integers]:
    """Return the ids of texts, and their count for each row; an empty text has none."""
    texts = column.cast(pl.String).alias(text_input.columns[0])
    is_filled_R = (texts.str.len_chars() > 0).fill_null(value=False).to_numpy()
    steps = text.transform(texts.filter(pl.Series(is_filled_R)).to_frame(), text_input, state)
    lengths_R = np.zeros(len(texts), np.int64)
    lengths_R[is_filled_R] = steps.stops_R - steps.starts_R
    return steps.values_NC[:, 0].astype(np.float32), lengths_R


def decode_symbols(ids: Sequence[int], unit: str, state: TextState) -> str:
    """Return the text of symbols, without unknown ones."""
    known = [symbol for symbol in ids if symbol > 0]
    if unit == "bpe":
        joined: str = _load_tokenizer(state.model).decode([symbol - 1 for symbol in known])
        return joined.removeprefix(" ")
    return "".join(state.tokens[symbol - 1] for symbol in known)


@lru_cache(maxsize=8)
def _load_tokenizer(model: str) -> Any:  # noqa: ANN401 - the library's tokenizer
    """Return the tokenizer of byte pairs, with the decoder that joins them."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel

    tokenizer = Tokenizer.from_str(model)
    tokenizer.decoder = ByteLevel()
    return tokenizer
