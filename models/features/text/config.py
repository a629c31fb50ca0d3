"""Settings of a text column, and its fitted state.

Shapes: V ids, D numbers of a vector.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

NormalizationStep = Literal["nfc", "nfkc", "lowercase", "strip_accents", "collapse_spaces"]

NUM_BYTES = 256

UNKNOWN_ID = 0
"""The id of every token that training did not keep, and of a text without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextInput:
    """A column of text, read as a sequence of tokens."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str | tuple[str, ...]
    """Column with the text; or several, which are read one after the other in this order, with a
    separator token between them. A missing text of several counts as empty."""
    kind: Literal["text"] = "text"
    """`text`: a text, read as a sequence of tokens."""
    tokenizer: Literal["byte", "character", "word", "bpe"] = "bpe"
    """`byte`: UTF-8 bytes. `character`: Unicode code points. `word`: words by spaCy's rules for
    `language`, without spaces. `bpe`: byte pair encoding, learned from the training rows."""
    language: str = "en"
    """Language of `tokenizer: word`, as a code of spaCy: `de`, `fr`, or `xx` for any; `zh` is
    segmented by jieba."""
    vocab_size: int = 16_000
    """Largest number of token ids, the one of unknown tokens (0) included; the separator of several
    columns is one more. Not used by `byte`."""
    min_frequency: int = 2
    """Tokens that are rarer in the training rows count as unknown, and rarer byte pairs are not
    merged. With 1, training has no unknown token, so the network does not learn to handle one."""
    normalize: tuple[NormalizationStep, ...] = ("nfc", "collapse_spaces")
    """Normalisation of a text before it is split into tokens, in this order."""
    max_length: int = 512
    """Largest number of tokens of a row; longer texts are truncated."""
    truncate: Literal["start", "end", "both"] = "start"
    """Which part of a longer text is kept; `both`: one half from its start, one from its end."""
    pretrained_embeddings: str | None = None
    """Name or folder of a spaCy pipeline whose word vectors initialize the embeddings."""
    freeze_embeddings: bool = False
    """Whether the pretrained embeddings are kept constant in training."""

    def __post_init__(self) -> None:
        """Validate the settings.

        Raises:
            ValueError: a number is too small, or two settings contradict each other.
        """
        if not self.columns:
            raise ValueError("column: name at least one column")
        if twice := [name for i, name in enumerate(self.columns) if name in self.columns[:i]]:
            raise ValueError(f"column: '{twice[0]}' is named twice; name each column once")
        fewest = NUM_BYTES + 1 if self.tokenizer == "bpe" else 2
        if self.vocab_size < fewest:
            raise ValueError(
                f"vocab_size: {self.vocab_size} is too small for tokenizer '{self.tokenizer}'; "
                f"give at least {fewest} ids"
            )
        if self.min_frequency < 1:
            raise ValueError(f"min_frequency: {self.min_frequency} is too small; give at least 1")
        if self.max_length < 1:
            raise ValueError(f"max_length: {self.max_length} is too small; give at least 1")
        if self.pretrained_embeddings is not None and self.tokenizer != "word":
            raise ValueError(
                f"pretrained_embeddings: they are for words, and tokenizer is '{self.tokenizer}'; "
                "set tokenizer: word, or remove pretrained_embeddings"
            )
        if self.freeze_embeddings and self.pretrained_embeddings is None:
            raise ValueError(
                "freeze_embeddings: there are none to freeze; name a pipeline in "
                "pretrained_embeddings, or remove it"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, one or several."""
        return (self.column,) if isinstance(self.column, str) else tuple(self.column)

    def count_ids(self, tokens: int) -> int:
        """Return the number of ids: the unknown one, those of tokens, and the separator's."""
        known = NUM_BYTES if self.tokenizer == "byte" else tokens
        return 1 + known + (len(self.columns) > 1)

    def find_separator(self, tokens: int) -> int:
        """Return the id of the separator of columns, the last one; -1 where there is one column.

        Args:
            tokens: number of tokens in the vocabulary.
        """
        return self.count_ids(tokens) - 1 if len(self.columns) > 1 else -1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextState:
    """Vocabulary and pretrained vectors of a text column; empty for bytes."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    tokens: tuple[str, ...] = ()
    """The token of each id from 1 on, the most frequent first; for bpe in the order of merging,
    with each byte as one printable character."""
    model: str = ""
    """For bpe, the JSON of the `tokenizers` library, whose ids are lower by 1."""
    vectors_VD: NDArray[np.float32] | None = None
    """The vector of each id; zeros for id 0 and for tokens that the pipeline does not know."""
