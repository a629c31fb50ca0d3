"""Text as sequences of token ids: fitted on the training rows, the same in prediction.

Shapes: R rows, N steps.
"""

import functools
import operator
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.embeddings.sources import find_source
from models.features.embeddings.word_table import MAX_FURTHER_WORDS, load_word_table
from models.features.feature_spec import Tokens
from models.features.steps import Steps
from models.features.text.characters import encode_bytes, encode_characters, fit_characters
from models.features.text.config import UNKNOWN_ID, TextInput, TextState, resolve_tokenizer
from models.features.text.jagged import (
    Jagged,
    concatenate_rows,
    expand_pieces,
    fill_empty_rows,
    join_columns,
    truncate_rows,
)
from models.features.text.normalization import (
    find_blocks,
    normalize_texts,
    read_texts,
    split_blocks,
)
from models.features.text.pieces import Encoder, Pieces, cache_pieces, keep_texts_whole
from models.features.text.pretrained_tokens import build_pretrained_encoder, fit_pretrained_tokens
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
            _read_columns(frame, config)
            break
        return TextState()
    fitters = {
        "character": fit_characters,
        "word": _fit_words,
        "bpe": fit_subwords,
        "token": fit_pretrained_tokens,
    }
    unit = _choose_unit(config)
    state = fitters[unit](_read_training_texts(frames, config), config)
    if not state.tokens:
        names = "', '".join(config.columns)
        raise UnlearnableError(
            f"column '{names}' has no {unit} that occurs "
            f"{config.min_frequency} times in training; give more data, or lower min_frequency"
        )
    return state


def transform(frame: pl.DataFrame, config: TextInput, state: TextState) -> Steps:
    """Return one sequence of ids for each row; a row without any text is an error.

    Raises:
        UnlearnableError: a column is missing or holds no text.
    """
    columns = _read_columns(frame, config)
    missing = functools.reduce(operator.and_, (texts.is_null() for texts in columns))
    parts = [
        _encode_block([texts[block] for texts in columns], config, state)
        for block in find_blocks(columns)
    ]
    flat = [part.flat_N for part in parts] or [np.empty(0, np.int32)]
    lengths = [np.diff(part.stops_R, prepend=0) for part in parts] or [np.empty(0, np.int64)]
    lengths_R = np.concatenate(lengths)
    stops_R = np.cumsum(lengths_R)
    return Steps(
        values_NC=np.concatenate(flat).reshape(-1, 1),
        starts_R=stops_R - lengths_R,
        stops_R=stops_R,
        errors_R=[_MISSING if is_missing else None for is_missing in missing],
    )


def build_spec(config: TextInput, state: TextState) -> Tokens:
    """Return the number of ids, and their pretrained embeddings if there are any."""
    size, vectors_VD = config.count_ids(len(state.tokens)), state.vectors_VD
    if vectors_VD is not None and len(vectors_VD) < size:
        # The separator has no pretrained vector; one of the usual length tells it from the others.
        usual = np.sqrt(np.mean(np.square(vectors_VD, dtype=np.float64)))
        separator_D = np.full((1, vectors_VD.shape[1]), usual, vectors_VD.dtype)
        vectors_VD = np.concatenate([vectors_VD, separator_D])
    return Tokens(
        size=size,
        vectors_VD=vectors_VD,
        frozen=config.freeze_embeddings,
        num_learned=state.num_learned,
    )


def _choose_unit(config: TextInput) -> str:
    """Return what the fitted vocabulary is of.

    Raises:
        UnlearnableError: there are no such pretrained vectors.
    """
    if config.tokenizer != "auto":
        return config.tokenizer
    if config.pretrained_embeddings is None:
        return "bpe"
    return "token" if find_source(config.pretrained_embeddings).format == "tokens" else "word"


def _read_training_texts(frames: Iterable[pl.DataFrame], config: TextInput) -> Iterator[pl.Series]:
    """Yield the normalized texts in blocks, without missing ones."""
    for frame in frames:
        for column in _read_columns(frame, config):
            for texts in split_blocks(column.drop_nulls()):
                yield normalize_texts(texts, config)


def _read_columns(frame: pl.DataFrame, config: TextInput) -> list[pl.Series]:
    """Return the texts of each column, null where one is missing.

    Raises:
        UnlearnableError: a column is missing or holds no text.
    """
    return [read_texts(frame, name) for name in config.columns]


def _fit_words(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Return the most frequent words, equals in code point order, and their vectors."""
    tokenizer = build_word_tokenizer(config.language)
    counts = count_tokens(map(tokenizer.cut, streams), tokenizer.split)
    kept = rank_tokens(counts, config.vocab_size - 1, config.min_frequency)
    if config.pretrained_embeddings is None or not kept:
        return TextState(tokens=tuple(token for token, _ in kept))
    table = load_word_table(
        config.pretrained_embeddings,
        rank_tokens(counts, len(kept) + MAX_FURTHER_WORDS),
        learned=len(kept),
        max_dim=config.pretrained_dim,
        further=MAX_FURTHER_WORDS,
    )
    return TextState(
        tokens=table.words,
        vectors_VD=table.vectors_VD,
        num_learned=len(kept) + 1,
        embeddings=table.summary,
    )


def _encode_block(columns: list[pl.Series], config: TextInput, state: TextState) -> Jagged:
    """Return the ids of a block of rows, at most `max_length` of each."""
    present_R = np.logical_or.reduce([texts.is_not_null().to_numpy() for texts in columns])
    encoded = [
        _encode_texts(normalize_texts(texts.fill_null(""), config), config, state)
        for texts in columns
    ]
    separator = config.find_separator(len(state.tokens))
    rows = join_columns(encoded, separator, present_R) if len(encoded) > 1 else encoded[0]
    return fill_empty_rows(truncate_rows(rows, config), present_R)


def _encode_texts(texts: pl.Series, config: TextInput, state: TextState) -> Jagged:
    """Return all ids of texts."""
    tokenizer = resolve_tokenizer(config, state)
    if tokenizer == "byte":
        return encode_bytes(texts)
    if tokenizer == "character":
        return encode_characters(texts, state)
    if tokenizer == "word":
        encoder = _build_word_encoder(
            state.tokens, config.language, any_case=state.vectors_VD is not None
        )
        return _encode_pieces(build_word_tokenizer(config.language).cut(texts), encoder)
    if tokenizer == "pretrained":
        return _encode_pieces(keep_texts_whole(texts), build_pretrained_encoder(state))
    return _encode_pieces(cut_subwords(texts), build_subword_encoder(state.model))


def _encode_pieces(pieces: Pieces, encoder: Encoder) -> Jagged:
    """Return the ids of rows of pieces; each distinct piece is encoded once."""
    return expand_pieces(
        Jagged(pieces.codes_P, pieces.stops_R), concatenate_rows(encoder(pieces.words_U))
    )


@functools.lru_cache(maxsize=8)
def _build_word_encoder(tokens: tuple[str, ...], language: str, *, any_case: bool) -> Encoder:
    """Return the function that encodes pieces as ids of their words.

    Args:
        tokens: words with ids.
        language: of the words.
        any_case: whether an unknown word is read as its lower-case form.
    """
    ids = {token: id_ for id_, token in enumerate(tokens, 1)}
    split = build_word_tokenizer(language).split

    def find_id(word: str) -> int:
        found = ids.get(word, UNKNOWN_ID)
        return ids.get(word.lower(), UNKNOWN_ID) if any_case and not found else found

    return cache_pieces(lambda pieces: [tuple(map(find_id, words)) for words in split(pieces)])
