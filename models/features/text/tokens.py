"""The tokens of a text as readable text, unknown ones too, for reports."""

from collections.abc import Sequence

import polars as pl

from models.features.text.config import TextInput, TextState, resolve_tokenizer
from models.features.text.jagged import split_max_length
from models.features.text.normalization import normalize_texts
from models.features.text.pretrained_tokens import build_token_cutter
from models.features.text.subwords import build_subword_encoder
from models.features.text.subwords import split_words as cut_subwords
from models.features.text.words import build_word_tokenizer


def split_tokens(cells: Sequence[str | None], config: TextInput, state: TextState) -> list[str]:
    """Return the text of each token that the network reads of a row.

    Args:
        cells: the text of each column; the separator before a further column shows its name.
        config: settings of the text.
        state: the vocabulary.
    """
    tokens, cut = [], _TOKENIZERS[resolve_tokenizer(config, state)]
    for number, (name, cell) in enumerate(zip(config.columns, cells, strict=True)):
        texts = normalize_texts(pl.Series([cell or ""], dtype=pl.String), config)
        tokens += [format_separator(name)] if number else []
        tokens += cut(texts, config, state)
    tokens = tokens or [""]
    if len(tokens) <= config.max_length:
        return tokens
    head, tail = split_max_length(config)
    return tokens[:head] + tokens[len(tokens) - tail :]


def format_separator(column: str) -> str:
    """Format the separator before a column."""
    return f"[{column}]"


def _show_bytes(texts: pl.Series, config: TextInput, state: TextState) -> list[str]:
    """Return bytes as text: printable ASCII as it is, others as hexadecimal numbers."""
    del config, state
    encoded = texts[0].encode()
    return [chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in encoded]


def _show_words(texts: pl.Series, config: TextInput, state: TextState) -> list[str]:
    """Return the words of a text."""
    del state
    tokenizer = build_word_tokenizer(config.language)
    pieces = tokenizer.cut(texts)
    split = tokenizer.split(pieces.words_U)
    return [word for code in pieces.codes_P for word in split[int(code)]]


def _show_subwords(texts: pl.Series, config: TextInput, state: TextState) -> list[str]:
    """Return the text of each byte pair; a part of a character is a replacement character."""
    del config
    from tokenizers.decoders import ByteLevel

    decoder, pieces = ByteLevel(), cut_subwords(texts)
    ids = build_subword_encoder(state.model)(pieces.words_U)
    all_ids = [id_ for code in pieces.codes_P for id_ in ids[int(code)]]
    return [decoder.decode([state.tokens[id_ - 1]]) for id_ in all_ids]


def _show_pretrained(texts: pl.Series, config: TextInput, state: TextState) -> list[str]:
    """Return the tokens of a pretrained tokenizer by their names."""
    del config
    return [token.text for token in build_token_cutter(state.model)(texts[0])]


_TOKENIZERS = {
    "byte": _show_bytes,
    "character": lambda texts, config, state: list(texts[0]),  # noqa: ARG005 - one signature for all
    "word": _show_words,
    "bpe": _show_subwords,
    "pretrained": _show_pretrained,
}
