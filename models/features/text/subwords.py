"""Byte pair encoding (BPE): trained on distinct words and their counts, encoded word by word.

Text is bytes, each written as one printable character, so that no text is unknown. The space before
a word belongs to it; merges never cross a U+0020 that follows another character, so words can be
encoded independently of each other.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import polars as pl

from models.features.text.config import TextInput, TextState
from models.features.text.pieces import Encoder, Pieces, cache_pieces, split_at_spaces
from models.features.text.token_counts import count_tokens

_WORDS_PER_TEXT = 4096
"""Words in one text for the trainer."""


def split_words(texts: pl.Series) -> Pieces:
    """Return texts split into words; one with other spaces is one piece."""
    has_extra_spaces = texts.str.contains("  ", literal=True)
    has_extra_spaces |= texts.str.starts_with(" ") | texts.str.ends_with(" ")
    return split_at_spaces(texts, has_extra_spaces)


def fit_subwords(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Return the byte pairs of texts, trained on word counts: equal to training on the texts."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, WhitespaceSplit
    from tokenizers.trainers import BpeTrainer

    byte_level = ByteLevel(add_prefix_space=True)

    def split(pieces: list[str]) -> list[tuple[str, ...]]:
        return [
            tuple(part for part, _ in byte_level.pre_tokenize_str(piece)) if piece else ()
            for piece in pieces
        ]

    counts = count_tokens(map(split_words, streams), cache_pieces(split))
    if not counts:
        return TextState()
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer = BpeTrainer(
        vocab_size=config.vocab_size - 1,
        min_frequency=config.min_frequency,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_repeat_words(counts), trainer)
    tokenizer.pre_tokenizer = byte_level
    ids = tokenizer.get_vocab()
    return TextState(tokens=tuple(sorted(ids, key=ids.__getitem__)), model=tokenizer.to_str())


@lru_cache(maxsize=8)
def build_subword_encoder(model: str) -> Encoder:
    """Return the function that encodes pieces by a trained model, whose ids are increased by 1."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_str(model)

    def encode(pieces: list[str]) -> list[tuple[int, ...]]:
        return [
            tuple(id_ + 1 for id_ in tokenizer.encode(piece).ids) if piece else ()
            for piece in pieces
        ]

    return cache_pieces(encode)


def _repeat_words(counts: dict[str, int]) -> Iterator[str]:
    """Yield texts with each word as often as it was counted, as the trainer accepts no counts."""
    for word, count in sorted(counts.items()):
        full_texts, rest = divmod(count, _WORDS_PER_TEXT)
        for repetitions in [_WORDS_PER_TEXT] * full_texts + [rest] * bool(rest):
            yield " ".join([word] * repetitions)
