"""Settings of trees, and their fitted state."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from models.features.embeddings.summary import EmbeddingSummary

DEFAULT_PRETRAINED_DIM = 128
"""Dimensions of pretrained vectors above which they are projected."""

UNKNOWN_ID, WORDLESS_ID = 0, 1
"""Ids of a word that is not in the vocabulary, and of a node without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeInput:
    """Parse trees in brackets, read from their leaves up."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """Column with trees such as `(3 (2 The) (4 film))`: a label, then words or nodes."""
    kind: Literal["tree"] = "tree"
    """`tree`: trees in brackets, as in the Stanford Sentiment Treebank or the Penn Treebank."""
    vocab_size: int = 20_000
    """Largest number of words with an id of their own."""
    min_frequency: int = 2
    """Words that are rarer in the training trees get the id of unknown words, so that the network
    learns to handle unknown words."""
    lowercase: bool = False
    """Whether words are converted to lower case."""
    label_tokens: bool = False
    """Whether a node's label is read as a token. Not where the root's label is the target."""
    supervise_nodes: bool = False
    """Whether the labels of all nodes are training targets, not that of the root alone. For labels
    that are classes of the target, as in the Stanford Sentiment Treebank; they are no input."""
    max_nodes: int = 2_000
    """Trees with more nodes are quarantined."""
    pretrained_embeddings: str | None = None
    """Vectors of words that were trained on other texts, by which also words are read that the
    training trees do not have. A file: GloVe, word2vec (text or binary), fastText's `.vec`, or one
    of these as `.gz`; or the name or folder of a spaCy pipeline (needs the extra `spacy`). The
    model holds what it needs of them, so a prediction needs no such file."""
    pretrained_dim: int = DEFAULT_PRETRAINED_DIM
    """Pretrained vectors with more dimensions are projected to so many by PCA."""
    freeze_embeddings: bool = True
    """Whether pretrained vectors are constant in training, and a smaller learned vector of each
    word (`model.embedding_dim`) stands beside them; otherwise they are trained themselves."""

    def __post_init__(self) -> None:
        """Validate the settings.

        Raises:
            ValueError: a number is too small, or labels are input and target.
        """
        for name in ("vocab_size", "min_frequency", "max_nodes", "pretrained_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give at least 1")
        if self.label_tokens and self.supervise_nodes:
            raise ValueError(
                "supervise_nodes: labels that are input cannot be targets; remove label_tokens"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TreeState:
    """Vocabulary, pretrained vectors and labels of the training trees; the first word has id 2."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    words: tuple[str, ...]
    vectors_VD: NDArray[np.float16] | None = None
    num_learned: int = 0
    """With pretrained vectors, how many ids, the first ones, occur often enough in training to be
    learned; later ones count as unknown but for their pretrained vectors."""
    embeddings: EmbeddingSummary | None = None
    """What is known of the pretrained vectors."""
    labels: tuple[str, ...] = ()
    """Labels of the nodes of the training trees, if they are supervised."""
