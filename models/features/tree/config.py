"""What a job says of trees, and what training fits."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

UNKNOWN, WORDLESS = 0, 1
"""Ids of a word that training never showed, and of a node without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeInput:
    """Parse trees in brackets, read from their leaves up."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    column: str
    """The column that holds trees such as `(3 (2 The) (4 film))`: a label, then words or nodes."""
    kind: Literal["tree"] = "tree"
    """`tree`: trees in brackets, as in the Stanford Sentiment Treebank or the Penn Treebank."""
    vocab_size: int = 20_000
    """Most words that have an id of their own."""
    min_frequency: int = 2
    """Training trees' words that are rarer share the id of unknown words, so that it is learned."""
    lowercase: bool = False
    """Whether words are read in small letters."""
    label_tokens: bool = False
    """Whether a node's label is read as a word. Never where the root's label is the answer."""
    supervise_nodes: bool = False
    """Whether training learns from the labels of all nodes, not of the root alone. For labels that
    are classes of the target, as in the Stanford Sentiment Treebank; the model never reads them."""
    max_nodes: int = 2_000
    """Trees with more nodes are not read."""
    pretrained_embeddings: str | None = None
    """Folder or name of a spaCy pipeline whose vectors the words begin with; extra `spacy`."""
    freeze_embeddings: bool = False
    """Whether those vectors stay as they are."""

    def __post_init__(self) -> None:
        """Refuse settings that read nothing."""
        for name in ("vocab_size", "min_frequency", "max_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give at least 1")
        if self.label_tokens and self.supervise_nodes:
            raise ValueError("supervise_nodes: labels that are read cannot be asked; remove labels")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TreeState:
    """The words of the training trees; the first has id 2."""

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}

    words: tuple[str, ...]
    vectors_VD: NDArray[np.float32] | None = None
    labels: tuple[str, ...] = ()
    """Labels of the training trees' nodes, where training learns from them."""
