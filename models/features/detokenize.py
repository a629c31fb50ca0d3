"""From the ids of a sequence back to the text that they stand for."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.text.config import TextInput, TextState, resolve_tokenizer
from models.features.tree.config import TreeInput, TreeState

Detokenizer = Callable[[NDArray[np.int64]], str]

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"

_SPACED = re.compile(r"(?<=\w) (['\N{RIGHT SINGLE QUOTATION MARK}-]) (?=\w)|([#@]) (?=\w)")
"""What word pieces cut out of a word: apostrophe, hyphen, and the sign before a tag or a name."""


def build_detokenizer(config: Any, state: Any) -> Detokenizer | None:  # noqa: ANN401 - of any kind
    """Build what turns ids [N] into text; None where steps are no tokens.

    Args:
        config: of the input.
        state: what training fitted about it.
    """
    if isinstance(config, TreeInput) and isinstance(state, TreeState):
        words = ["", "", *state.words]
        words[0] = _UNKNOWN
        return lambda ids_N: " ".join(words[index] for index in ids_N.tolist() if words[index])
    if not isinstance(config, TextInput) or not isinstance(state, TextState):
        return None
    separator = config.find_separator(len(state.tokens))
    detokenize = _build_text_detokenizer(config, state)
    if separator < 0:
        return detokenize
    return lambda ids_N: "\n".join(
        detokenize(part_N[part_N != separator])
        for part_N in np.split(ids_N, np.flatnonzero(ids_N == separator))
    )


def _build_text_detokenizer(config: TextInput, state: TextState) -> Detokenizer:
    """Build what turns the ids of one column into text."""
    tokenizer = resolve_tokenizer(config, state)
    if tokenizer == "byte":
        return lambda ids_N: bytes((ids_N - 1).clip(0).astype(np.uint8)).decode(errors="replace")
    tokens = [_UNKNOWN, *state.tokens]
    if tokenizer == "pretrained":
        join = _build_joiner(state.model)
        return lambda ids_N: join([tokens[index] for index in ids_N.tolist()])
    if tokenizer == "bpe":
        byte_of = _list_printable_bytes()
        parts = [b"", *(bytes(byte_of[sign] for sign in token) for token in state.tokens)]
        return lambda ids_N: (
            b"".join(parts[index] for index in ids_N.tolist()).decode(errors="replace").strip()
        )
    joiner = " " if tokenizer == "word" else ""
    return lambda ids_N: joiner.join(tokens[index] for index in ids_N.tolist())


def _build_joiner(model: str) -> Callable[[list[str]], str]:
    """Build what joins the tokens of a pretrained tokenizer into a text.

    Word pieces do not say whether a space was between them; where words are usually written
    without one, there is none. Other tokenizers have a decoder that knows.
    """
    settings = json.loads(model)
    if settings["model"].get("type") == "WordPiece":
        prefix = settings["model"].get("continuing_subword_prefix", "##")
        return lambda tokens: _SPACED.sub(r"\1\2", " ".join(tokens).replace(f" {prefix}", ""))
    if settings.get("decoder") is None:
        return " ".join
    from tokenizers import Tokenizer

    decoder = Tokenizer.from_str(model).decoder
    return lambda tokens: str(decoder.decode(tokens)).strip()


@lru_cache(maxsize=1)
def _list_printable_bytes() -> dict[str, int]:
    """Return the byte of each printable character by which byte-level BPE writes bytes.

    As in GPT-2 (Radford et al. 2019): printable bytes of Latin-1 stand for themselves, the others
    for the characters from 256 on, in their order.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}
