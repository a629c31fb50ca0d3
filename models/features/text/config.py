"""What is asked of a text column, and what training fitted about it.

Shapes: V ids, D numbers of a vector.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Normalisation = Literal["nfc", "nfkc", "lowercase", "strip_accents", "collapse_spaces"]

BYTES = 256

UNKNOWN = 0
"""The id of every token that training did not keep, and of a text without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextInput:
    """A column of text, read as a sequence of tokens."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """The column that holds the text."""
    kind: Literal["text"] = "text"
    tokenizer: Literal["byte", "character", "word", "bpe"] = "bpe"
    """`byte`: UTF-8 bytes. `character`: code points. `word`: spaCy's rules for `language`, spaces
    left out. `bpe`: byte pairs merged by how often they stand together in training."""
    language: str = "en"
    """Of the words, as spaCy writes it: `de`, `fr`, `xx` for any; `zh` is cut by jieba."""
    vocab_size: int = 16_000
    """Largest number of ids, id 0 for the unknown included; of no concern to bytes."""
    min_frequency: int = 2
    """A token seen less often in training is unknown; a pair seen less often is not merged. At 1
    no training row holds an unknown word, so that the network never learns what one means."""
    normalize: tuple[Normalisation, ...] = ("nfc", "collapse_spaces")
    """What is done to a text before it is cut, in this order."""
    max_length: int = 512
    """Steps that a longer text is cut to."""
    truncate: Literal["start", "end", "both"] = "start"
    """Which part of a longer text stays; `both` is its first half of the steps and its last."""
    pretrained_embeddings: str | None = None
    """A spaCy pipeline, by name or folder, whose vectors the words' own begin from."""
    freeze_embeddings: bool = False
    """Whether those vectors stay as they are while the network learns."""

    def __post_init__(self) -> None:
        """Refuse what leaves no tokens, and settings that contradict each other."""
        fewest = BYTES + 1 if self.tokenizer == "bpe" else 2
        if self.vocab_size < fewest:
            raise ValueError(
                f"vocab_size: {self.vocab_size} is too small for tokenizer '{self.tokenizer}'; "
                f"give at least {fewest} ids"
            )
        if self.min_frequency < 1:
            raise ValueError(f"min_frequency: {self.min_frequency} is no count; give 1 or more")
        if self.max_length < 1:
            raise ValueError(f"max_length: {self.max_length} leaves nothing; give 1 step or more")
        if self.pretrained_embeddings is not None and self.tokenizer != "word":
            raise ValueError(
                "pretrained_embeddings: they belong to words, and tokenizer is "
                f"'{self.tokenizer}'; "
                "set tokenizer: word, or remove vectors"
            )
        if self.freeze_embeddings and self.pretrained_embeddings is None:
            raise ValueError(
                "freeze_embeddings: there are no vectors to freeze; name a pipeline in vectors"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextState:
    """What training fitted about a text column; nothing for bytes."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    tokens: tuple[str, ...] = ()
    """The token of each id from 1 on, the most frequent first; for bpe in the order of merging,
    each byte written as one printable character."""
    model: str = ""
    """For bpe, what the `tokenizers` library reads back, as JSON; its ids lie one below ours."""
    vectors_VD: NDArray[np.float32] | None = None
    """The vector of each id; zeros for id 0 and for tokens that the pipeline does not know."""
