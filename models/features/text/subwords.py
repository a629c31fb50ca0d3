"""Byte pairs: trained on distinct words and their counts, encoded word by word.

Text is bytes, each written as one printable character, so that nothing is ever unknown. A word
takes the space before it along; merges never cross a U+0020 that follows another character, which
is why words can be encoded on their own.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import polars as pl

from models.features.text.config import TextInput, TextState
from models.features.text.counting import count_tokens
from models.features.text.pieces import Encoder, Pieces, at_spaces, remembered

COPIES = 4096
"""Words handed to the trainer in one text."""


def cut(texts: pl.Series) -> Pieces:
    """Cut texts into words; one with spaces beyond those between words stays whole."""
    uneven = texts.str.contains("  ", literal=True)
    uneven |= texts.str.starts_with(" ") | texts.str.ends_with(" ")
    return at_spaces(texts, uneven)


def fit_subwords(streams: Iterable[pl.Series], config: TextInput) -> TextState:
    """Train on the texts; the same merges as from the texts themselves."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, WhitespaceSplit
    from tokenizers.trainers import BpeTrainer

    bytes_of = ByteLevel(add_prefix_space=True)

    def split(pieces: list[str]) -> list[tuple[str, ...]]:
        return [
            tuple(part for part, _ in bytes_of.pre_tokenize_str(piece)) if piece else ()
            for piece in pieces
        ]

    counts = count_tokens(map(cut, streams), remembered(split))
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
    tokenizer.train_from_iterator(copies(counts), trainer)
    tokenizer.pre_tokenizer = bytes_of
    ids = tokenizer.get_vocab()
    return TextState(tokens=tuple(sorted(ids, key=ids.__getitem__)), model=tokenizer.to_str())


def copies(counts: dict[str, int]) -> Iterator[str]:
    """Write every word as often as it was seen: the trainer takes no counts."""
    for word, count in sorted(counts.items()):
        full, rest = divmod(count, COPIES)
        for number in [COPIES] * full + [rest] * bool(rest):
            yield " ".join([word] * number)


@lru_cache(maxsize=8)
def subword_ids(model: str) -> Encoder:
    """Open a trained model; its ids move up by one, past the unknown's."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_str(model)

    def encode(pieces: list[str]) -> list[tuple[int, ...]]:
        return [
            tuple(place + 1 for place in tokenizer.encode(piece).ids) if piece else ()
            for piece in pieces
        ]

    return remembered(encode)
