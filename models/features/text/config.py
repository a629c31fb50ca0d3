"""Settings of a text column, and its fitted state.

Shapes: V ids, D numbers of a vector.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.features.embeddings.summary import EmbeddingSummary

NormalizationStep = Literal["nfc", "nfkc", "lowercase", "strip_accents", "collapse_spaces"]

Tokenizer = Literal["auto", "byte", "character", "word", "bpe"]

NUM_BYTES = 256

DEFAULT_PRETRAINED_DIM = 128
"""Dimensions of pretrained vectors above which they are projected."""

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
    tokenizer: Tokenizer = "auto"
    """`byte`: UTF-8 bytes. `character`: Unicode code points. `word`: words by spaCy's rules for
    `language`, without spaces. `bpe`: byte pair encoding, learned from the training rows. `auto`:
    `bpe`; with `pretrained_embeddings` what they are of, `word` or the tokens of their own
    tokenizer."""
    language: str = "en"
    """Language of `tokenizer: word`, as a code of spaCy: `de`, `fr`, or `xx` for any; `zh` is
    segmented by jieba."""
    vocab_size: int = 16_000
    """Largest number of learned token ids, the one of unknown tokens (0) included; not used by
    `byte`. The separator of several columns is one more, and further tokens that pretrained vectors
    are known of do not count."""
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
    """Vectors of words or tokens that were trained on other texts, by which also words are read
    that the training rows do not have. A file with vectors of words: GloVe, word2vec (text or
    binary), fastText's `.vec`, or one of these as `.gz`; a folder with `tokenizer.json` and
    `model.safetensors`: Model2Vec, or the input embeddings of any model of Hugging Face, by whose
    tokenizer the texts are then split; or the name or folder of a spaCy pipeline. The model holds
    what it needs of them, so a prediction needs no such file."""
    embedding_key: str | None = None
    """Name of the tensor with the vectors, where a folder's safetensors have several that could be
    it."""
    pretrained_dim: int = DEFAULT_PRETRAINED_DIM
    """Pretrained vectors with more dimensions are projected to so many by PCA."""
    freeze_embeddings: bool = True
    """Whether pretrained vectors are constant in training, and a smaller learned vector of each
    token (`model.embedding_dim`) stands beside them; otherwise they are trained themselves."""

    def __post_init__(self) -> None:
        """Validate the settings.

        Raises:
            ValueError: a number is too small, or two settings contradict each other.
        """
        if not self.columns:
            raise ValueError("column: name at least one column")
        if twice := [name for i, name in enumerate(self.columns) if name in self.columns[:i]]:
            raise ValueError(f"column: '{twice[0]}' is named twice; name each column once")
        learns_bytes = self.tokenizer == "bpe" or (
            self.tokenizer == "auto" and self.pretrained_embeddings is None
        )
        fewest = NUM_BYTES + 1 if learns_bytes else 2
        if self.vocab_size < fewest:
            raise ValueError(
                f"vocab_size: {self.vocab_size} is too small for tokenizer '{self.tokenizer}'; "
                f"give at least {fewest} ids"
            )
        if self.min_frequency < 1:
            raise ValueError(f"min_frequency: {self.min_frequency} is too small; give at least 1")
        if self.max_length < 1:
            raise ValueError(f"max_length: {self.max_length} is too small; give at least 1")
        if self.pretrained_dim < 1:
            raise ValueError(f"pretrained_dim: {self.pretrained_dim} is too small; give at least 1")
        if self.pretrained_embeddings is None:
            self._check_no_table()
        elif self.tokenizer not in {"auto", "word"}:
            raise ValueError(
                f"pretrained_embeddings: they are for words or for the tokens of their own "
                f"tokenizer, and tokenizer is '{self.tokenizer}'; remove one of the two"
            )

    def _check_no_table(self) -> None:
        """Check that nothing is set that needs pretrained vectors.

        Raises:
            ValueError: names the key.
        """
        defaults = {
            "embedding_key": None,
            "pretrained_dim": DEFAULT_PRETRAINED_DIM,
            "freeze_embeddings": True,
        }
        for name, default in defaults.items():
            if getattr(self, name) != default:
                raise ValueError(
                    f"{name}: there are no pretrained vectors; name them in "
                    f"pretrained_embeddings, or remove {name}"
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
    """For bpe and pretrained tokens, the JSON of the `tokenizers` library. The ids of bpe are
    lower by 1."""
    vectors_VD: NDArray[np.float16] | None = None
    """The pretrained vector of each id; zeros for id 0 and for tokens without one."""
    num_learned: int = 0
    """With pretrained vectors, how many ids, the first ones, occur often enough in training to be
    learned; later ones count as unknown but for their pretrained vectors."""
    source_ids_V: NDArray[np.int64] | None = None
    """For pretrained tokens, the tokenizer's id of each of `tokens`; -1 for text that it does not
    know."""
    embeddings: EmbeddingSummary | None = None
    """What is known of the pretrained vectors."""


def resolve_tokenizer(
    config: TextInput, state: TextState
) -> Literal["byte", "character", "word", "bpe", "pretrained"]:
    """Return how texts are split into tokens."""
    if config.tokenizer != "auto":
        return config.tokenizer
    if config.pretrained_embeddings is None:
        return "bpe"
    return "word" if state.source_ids_V is None else "pretrained"
