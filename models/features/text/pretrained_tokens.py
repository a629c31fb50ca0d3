"""Tokens of a pretrained tokenizer, whose table gives their vectors.

Text that the tokenizer does not know (emoji, for most), is divided into runs of letters and single
characters; those that repeat in training get ids of their own, so that they can be learned.

Shapes: T ids of the tokenizer, V ids of the job.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from models.errors import UnlearnableError
from models.features.embeddings.summary import summarize_table
from models.features.embeddings.token_table import (
    MAX_FURTHER_TOKENS,
    find_matrix,
    find_tokenizer_file,
    read_token_vectors,
)
from models.features.steps import Integers
from models.features.text.config import UNKNOWN_ID, TextInput, TextState
from models.features.text.pieces import Encoder, cache_pieces
from models.features.text.token_counts import rank_tokens

_RUNS = re.compile(r"\w+|[^\w\s]")

_MAX_UNKNOWN_LENGTH = 64
"""In characters; longer text that the tokenizer does not know stays unknown."""

_MAX_UNKNOWN_TEXTS = 1 << 20
"""Distinct unknown pieces that are counted; with more, those that occurred once are dropped."""

_BATCH_TEXTS = 4_096

NO_SOURCE = -1
"""Instead of the tokenizer's id, for a piece that the tokenizer does not know."""


class Token(NamedTuple):
    """A token of a text."""

    text: str
    """The tokenizer's name for it; the text itself where it is unknown."""
    source_id: int
    """The tokenizer's id; `NO_SOURCE` where it is unknown."""


def fit_pretrained_tokens(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Return the tokens of a pretrained table that training learns, and all others it has.

    Raises:
        UnlearnableError: the table or its tokenizer cannot be read.
    """
    name = str(config.pretrained_embeddings)
    model = _read_model(find_tokenizer_file(name).read_bytes(), name)
    names = {id_: token for token, id_ in _load_tokenizer(model).get_vocab().items()}
    counts, unknown = _count(streams, model, max(names) + 1)
    if not counts.any() and not unknown:
        return TextState()
    ranked = _rank(counts, unknown, names)
    learned = [each for each in ranked if each[0] >= config.min_frequency][: config.vocab_size - 1]
    source_ids = [each[2] for each in learned]
    taken = set(source_ids)
    others = [each[2] for each in ranked[len(learned) :] if each[2] != NO_SOURCE]
    others += [id_ for id_ in sorted(names) if counts[id_] == 0]
    further = [id_ for id_ in others if id_ not in taken][:MAX_FURTHER_TOKENS]
    source_ids_V = np.array([*source_ids, *further], np.int64)
    matrix = find_matrix(name, config.embedding_key, max(names) + 1)
    has_vector = source_ids_V != NO_SOURCE
    vectors = read_token_vectors(matrix, source_ids_V[has_vector], config.pretrained_dim)
    vectors_VD = np.zeros((len(source_ids_V) + 1, vectors.shape[1]), np.float16)
    vectors_VD[1:][has_vector] = vectors
    summary = summarize_table(
        name,
        "tokens",
        [(each[1], each[0]) for each in ranked],
        [each[2] != NO_SOURCE for each in ranked],
        shape=vectors.shape,
        dim=matrix.dim,
    )
    return TextState(
        tokens=(*(each[1] for each in learned), *(names[id_] for id_ in further)),
        model=model,
        vectors_VD=vectors_VD,
        num_learned=len(learned) + 1,
        source_ids_V=source_ids_V,
        embeddings=summary,
    )


def build_pretrained_encoder(state: TextState) -> Encoder:
    """Return the function that encodes whole texts as ids of the job."""
    assert state.source_ids_V is not None  # noqa: S101 - of such a tokenizer
    return _build_encoder(state.model, state.tokens, state.source_ids_V.tobytes())


@lru_cache(maxsize=8)
def build_token_cutter(model: str) -> Callable[[str], list[Token]]:
    """Return the function that splits a text into tokens."""
    tokenizer, unknown_id = _load_tokenizer(model), _find_unknown_id(model)

    def cut(text: str, *, divide: bool = True) -> list[Token]:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        tokens: list[Token] = []
        for name, id_, (start, stop) in zip(
            encoding.tokens, encoding.ids, encoding.offsets, strict=True
        ):
            if id_ != unknown_id:
                tokens.append(Token(name, id_))
                continue
            span = text[start:stop]
            runs = _RUNS.findall(span) if divide else [span]
            for run in runs:
                tokens += [Token(run, NO_SOURCE)] if run == span else cut(run, divide=False)
        return tokens

    return cut


@lru_cache(maxsize=8)
def _build_encoder(model: str, tokens: tuple[str, ...], sources: bytes) -> Encoder:
    """Return the function that encodes whole texts as ids."""
    cut = build_token_cutter(model)
    pairs = zip(tokens, np.frombuffer(sources, np.int64).tolist(), strict=True)
    known: dict[str, int] = {}
    ids: dict[int, int] = {}
    for id_, (token, source) in enumerate(pairs, 1):
        if source == NO_SOURCE:
            known[token] = id_
        else:
            ids[source] = id_

    def encode(text: str) -> tuple[int, ...]:
        return tuple(
            known.get(token.text, UNKNOWN_ID)
            if token.source_id == NO_SOURCE
            else ids.get(token.source_id, UNKNOWN_ID)
            for token in cut(text)
        )

    return cache_pieces(lambda texts: [encode(text) for text in texts])


def _read_model(content: bytes, name: str) -> str:
    """Return the JSON of a tokenizer without what concerns whole inputs of its own model.

    Raises:
        UnlearnableError: it is damaged.
    """
    try:
        record = json.loads(content)
        vocabulary = record["model"]["vocab"]
    except (ValueError, TypeError, KeyError) as error:
        raise UnlearnableError(
            f"pretrained_embeddings: the tokenizer.json of '{name}' is not one of the library "
            f"tokenizers ({error!r}); download it again"
        ) from error
    if not vocabulary:
        raise UnlearnableError(
            f"pretrained_embeddings: the tokenizer.json of '{name}' has no tokens; "
            "download it again"
        )
    record |= {"truncation": None, "padding": None, "post_processor": None}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=8)
def _load_tokenizer(model: str) -> Any:  # noqa: ANN401 - the library's tokenizer
    """Return the tokenizer of a JSON."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(model)


def _find_unknown_id(model: str) -> int:
    """Return the id that stands for unknown text; -1 where no text is unknown."""
    settings = json.loads(model)["model"]
    if isinstance(settings.get("unk_id"), int):
        return int(settings["unk_id"])
    name = settings.get("unk_token")
    found = _load_tokenizer(model).token_to_id(name) if name else None
    return -1 if found is None else int(found)


def _count(streams: Iterable[pl.Series], model: str, size: int) -> tuple[Integers, Counter[str]]:
    """Count the tokens of texts by the tokenizer's ids [T], and what it does not know by text."""
    counts_T, unknown = np.zeros(size, np.int64), Counter[str]()
    cut = build_token_cutter(model)
    for texts in chain.from_iterable(map(_slice_texts, streams)):
        tokens = list(chain.from_iterable(map(cut, texts)))
        ids_N = np.array([token.source_id for token in tokens], np.int64)
        counts_T += np.bincount(ids_N[ids_N != NO_SOURCE], minlength=size)
        unknown.update(
            token.text
            for token in tokens
            if token.source_id == NO_SOURCE and len(token.text) <= _MAX_UNKNOWN_LENGTH
        )
        if len(unknown) > _MAX_UNKNOWN_TEXTS:
            unknown = Counter({text: count for text, count in unknown.items() if count > 1})
    return counts_T, unknown


def _slice_texts(texts: pl.Series) -> Iterator[pl.Series]:
    """Yield slices of texts: their tokens take much more memory."""
    return (texts[start : start + _BATCH_TEXTS] for start in range(0, len(texts), _BATCH_TEXTS))


def _rank(
    counts_T: Integers, unknown: Counter[str], names: dict[int, str]
) -> list[tuple[int, str, int]]:
    """Return count, text and id of the tokens of training, the most frequent first."""
    known = [(int(counts_T[id_]), names[id_], id_) for id_ in np.flatnonzero(counts_T).tolist()]
    other = [(count, text, NO_SOURCE) for text, count in rank_tokens(unknown, len(unknown))]
    return sorted([*known, *other], key=lambda each: (-each[0], each[1], each[2]))
