"""Text read as a sequence of ids: fitted on the training rows, the same in the served model.

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
from models.features.text.config import BYTES, UNKNOWN, TextInput, TextState
from models.features.text.counting import count_tokens, ranked
from models.features.text.jagged import Jagged, cut, expand, fill, lay
from models.features.text.normalise import blocks, normalise, read_texts
from models.features.text.pieces import Encoder, Pieces, remembered
from models.features.text.subwords import cut as cut_subwords
from models.features.text.subwords import fit_subwords, subword_ids
from models.features.text.vectors import word_vectors
from models.features.text.words import words_of

MISSING = "the text is missing"


def fit(frames: Iterable[pl.DataFrame], config: TextInput) -> TextState:
    """Choose the tokens that get an id of their own, from the training rows.

    Raises:
        UnlearnableError: the column holds no text, or nothing that is frequent enough.
    """
    if config.tokenizer == "byte":
        for frame in frames:
            read_texts(frame, config.column)
            break
        return TextState()
    fitter = {"character": fit_characters, "word": fit_words, "bpe": fit_subwords}
    state = fitter[config.tokenizer](training_texts(frames, config), config)
    if not state.tokens:
        raise UnlearnableError(
            f"column '{config.column}' has no {config.tokenizer} that training rows hold "
            f"{config.min_frequency} times; give more data, or lower min_frequency"
        )
    return state


def training_texts(frames: Iterable[pl.DataFrame], config: TextInput) -> Iterator[pl.Series]:
    """Read normalised texts block by block, without those that are missing."""
    for frame in frames:
        for texts in blocks(read_texts(frame, config.column).drop_nulls()):
            yield normalise(texts, config)


def fit_words(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Keep the most frequent words, equals in code point order."""
    words = words_of(config.language)
    counts = count_tokens(map(words.cut, streams), words.split)
    kept = ranked(counts, config.vocab_size - 1, config.min_frequency)
    state = TextState(tokens=tuple(token for token, _ in kept))
    if config.pretrained_embeddings is None or not kept:
        return state
    return replace(state, vectors_VD=word_vectors(config.pretrained_embeddings, state.tokens))


def transform(frame: pl.DataFrame, config: TextInput, state: TextState) -> Steps:
    """Turn rows into ids, one sequence for each text; a missing one is its row's error.

    Raises:
        UnlearnableError: the column is missing or holds no text.
    """
    texts = read_texts(frame, config.column)
    parts = [encode_block(block, config, state) for block in blocks(texts)]
    flat = [part.flat_N for part in parts] or [np.empty(0, np.int32)]
    lengths = [np.diff(part.stops_R, prepend=0) for part in parts] or [np.empty(0, np.int64)]
    lengths_R = np.concatenate(lengths)
    stops_R = np.cumsum(lengths_R)
    return Steps(
        values_NC=np.concatenate(flat).reshape(-1, 1),
        starts_R=stops_R - lengths_R,
        stops_R=stops_R,
        errors_R=[MISSING if missing else None for missing in texts.is_null()],
    )


def encode_block(block: pl.Series, config: TextInput, state: TextState) -> Jagged:
    """Turn some texts into ids of at most `max_length` steps."""
    present_R = block.is_not_null().to_numpy()
    texts = normalise(block.fill_null(""), config)
    return fill(cut(encode(texts, config, state), config), present_R)


def encode(texts: pl.Series, config: TextInput, state: TextState) -> Jagged:
    """Turn texts into all their ids."""
    if config.tokenizer == "byte":
        return encode_bytes(texts)
    if config.tokenizer == "character":
        return encode_characters(texts, state)
    if config.tokenizer == "word":
        cutter = words_of(config.language).cut
        return gather(cutter(texts), word_ids(state.tokens, config.language))
    return gather(cut_subwords(texts), subword_ids(state.model))


def gather(pieces: Pieces, encoder: Encoder) -> Jagged:
    """Encode each distinct piece, and put its ids wherever it stands."""
    return expand(Jagged(pieces.codes_P, pieces.stops_R), lay(encoder(pieces.words_U)))


@lru_cache(maxsize=8)
def word_ids(tokens: tuple[str, ...], language: str) -> Encoder:
    """Build what turns pieces into the ids of their words."""
    ids = {token: place for place, token in enumerate(tokens, 1)}
    split = words_of(language).split
    return remembered(
        lambda pieces: [tuple(ids.get(word, UNKNOWN) for word in words) for words in split(pieces)]
    )


def signal(config: TextInput, state: TextState) -> Tokens:
    """Tell the network how many ids there are, and which vectors they begin from."""
    return Tokens(
        size=1 + (BYTES if config.tokenizer == "byte" else len(state.tokens)),
        vectors_VD=state.vectors_VD,
        frozen=config.freeze_embeddings,
    )
