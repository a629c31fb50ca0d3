"""Text as sequences of token ids: fitted on the training rows, the same in prediction.

Shapes: R rows, N steps.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.feature_spec import Tokens
from models.features.steps import Steps
from models.features.text.characters import encode_bytes, encode_characters, fit_characters
from models.features.text.config import NUM_BYTES, UNKNOWN_ID, TextInput, TextState
from models.features.text.jagged import (
    Jagged,
    concatenate_rows,
    expand_pieces,
    fill_empty_rows,
    truncate_rows,
)
from models.features.text.normalization import normalize_texts, read_texts, split_blocks
from models.features.text.pieces import Encoder, Pieces, cache_pieces
from models.features.text.pretrained_embeddings import load_word_vectors
from models.features.text.subwords import build_subword_encoder, fit_subwords
from models.features.text.subwords import split_words as cut_subwords
from models.features.text.token_counts import count_tokens, rank_tokens
from models.features.text.words import build_word_tokenizer

_MISSING = "the text is missing"


def fit(frames: Iterable[pl.DataFrame], config: TextInput) -> TextState:
    """Return the vocabulary of the training rows.

    Raises:
        UnlearnableError: the column has no texts, or no token that is frequent enough.
    """
    if config.tokenizer == "byte":
        for frame in frames:
            read_texts(frame, config.column)
            break
        return TextState()
    fitter = {"character": fit_characters, "word": _fit_words, "bpe": fit_subwords}
    state = fitter[config.tokenizer](_read_training_texts(frames, config), config)
    if not state.tokens:
        raise UnlearnableError(
            f"column '{config.column}' has no {config.tokenizer} that occurs "
            f"{config.min_frequency} times in training; give more data, or lower min_frequency"
        )
    return state


def transform(frame: pl.DataFrame, config: TextInput, state: TextState) -> Steps:
    """Return one sequence of ids for each text; a missing text is the error of its row.

    Raises:
        UnlearnableError: the column is missing or holds no text.
    """
    texts = read_texts(frame, config.column)
    parts = [_encode_block(block, config, state) for block in split_blocks(texts)]
    flat = [part.flat_N for part in parts] or [np.empty(0, np.int32)]
    lengths = [np.diff(part.stops_R, prepend=0) for part in parts] or [np.empty(0, np.int64)]
    lengths_R = np.concatenate(lengths)
    stops_R = np.cumsum(lengths_R)
    return Steps(
        values_NC=np.concatenate(flat).reshape(-1, 1),
        starts_R=stops_R - lengths_R,
        stops_R=stops_R,
        errors_R=[_MISSING if missing else None for missing in texts.is_null()],
    )


def build_spec(config: TextInput, state: TextState) -> Tokens:
    """Return the number of ids, and their pretrained embeddings if there are any."""
    return Tokens(
        size=1 + (NUM_BYTES if config.tokenizer == "byte" else len(state.tokens)),
        vectors_VD=state.vectors_VD,
        frozen=config.freeze_embeddings,
    )


def _read_training_texts(frames: Iterable[pl.DataFrame], config: TextInput) -> Iterator[pl.Series]:
    """Yield the normalized texts in blocks, without missing ones."""
    for frame in frames:
        for texts in split_blocks(read_texts(frame, config.column).drop_nulls()):
            yield normalize_texts(texts, config)


def _fit_words(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Return the most frequent words, equals in code point order, and their vectors."""
    tokenizer = build_word_tokenizer(config.language)
    counts = count_tokens(map(tokenizer.cut, streams), tokenizer.split)
    kept = rank_tokens(counts, config.vocab_size - 1, config.min_frequency)
    state = TextState(tokens=tuple(token for token, _ in kept))
    if config.pretrained_embeddings is None or not kept:
        return state
    return replace(state, vectors_VD=load_word_vectors(config.pretrained_embeddings, state.tokens))


def _encode_block(block: pl.Series, config: TextInput, state: TextState) -> Jagged:
    """Return the ids of a block of texts, at most `max_length` of each."""
    present_R = block.is_not_null().to_numpy()
    texts = normalize_texts(block.fill_null(""), config)
    return fill_empty_rows(truncate_rows(_encode_texts(texts, config, state), config), present_R)


def _encode_texts(texts: pl.Series, config: TextInput, state: TextState) -> Jagged:
    """Return all ids of texts."""
    if config.tokenizer == "byte":
        return encode_bytes(texts)
    if config.tokenizer == "character":
        return encode_characters(texts, state)
    if config.tokenizer == "word":
        cutter = build_word_tokenizer(config.language).cut
        return _encode_pieces(cutter(texts), _build_word_encoder(state.tokens, config.language))
    return _encode_pieces(cut_subwords(texts), build_subword_encoder(state.model))


def _encode_pieces(pieces: Pieces, encoder: Encoder) -> Jagged:
    """Return the ids of rows of pieces; each distinct piece is encoded once."""
    return expand_pieces(
        Jagged(pieces.codes_P, pieces.stops_R), concatenate_rows(encoder(pieces.words_U))
    )


@lru_cache(maxsize=8)
def _build_word_encoder(tokens: tuple[str, ...], language: str) -> Encoder:
    """Return the function that encodes pieces as ids of their words."""
    ids = {token: id_ for id_, token in enumerate(tokens, 1)}
    split = build_word_tokenizer(language).split
    return cache_pieces(
        lambda pieces: [
            tuple(ids.get(word, UNKNOWN_ID) for word in words) for words in split(pieces)
        ]
    )
