"""The tokens of a text as a reader would see them, unknown ones too.

Only for showing: what a network reads are ids.
"""

import polars as pl

from models.features.text.config import TextInput, TextState
from models.features.text.jagged import share
from models.features.text.normalise import normalise
from models.features.text.subwords import cut as cut_subwords
from models.features.text.subwords import subword_ids
from models.features.text.words import words_of


def token_texts(text: str, config: TextInput, state: TextState) -> list[str]:
    """Cut one text as it is cut for the network, and keep what each token says."""
    texts = normalise(pl.Series([text], dtype=pl.String), config)
    tokens = CUTTERS[config.tokenizer](texts, config, state) or [""]
    if len(tokens) <= config.max_length:
        return tokens
    head, tail = share(config)
    return tokens[:head] + tokens[len(tokens) - tail :]


def shown_bytes(texts: pl.Series, config: TextInput, state: TextState) -> list[str]:
    """Show bytes: those of ASCII as they are, others by their number."""
    del config, state
    read = texts[0].encode()
    return [chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in read]


def shown_words(texts: pl.Series, config: TextInput, state: TextState) -> list[str]:
    """Show the words that the language's rules find."""
    del state
    words = words_of(config.language)
    pieces = words.cut(texts)
    split = words.split(pieces.words_U)
    return [word for code in pieces.codes_P for word in split[int(code)]]


def shown_subwords(texts: pl.Series, config: TextInput, state: TextState) -> list[str]:
    """Show what each byte pair stands for; a part of a character has a sign in its place."""
    del config
    from tokenizers.decoders import ByteLevel

    decoder, pieces = ByteLevel(), cut_subwords(texts)
    ids = subword_ids(state.model)(pieces.words_U)
    chosen = [place for code in pieces.codes_P for place in ids[int(code)]]
    return [decoder.decode([state.tokens[place - 1]]) for place in chosen]


CUTTERS = {
    "byte": shown_bytes,
    "character": lambda texts, config, state: list(texts[0]),  # noqa: ARG005 - one face for all
    "word": shown_words,
    "bpe": shown_subwords,
}
