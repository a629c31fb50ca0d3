"""What a network has to know about the steps of its input: between features and networks.

Shapes: N steps, C channels, V ids, D numbers of a vector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Numbers:
    """Steps are scaled float32 channels, [N, C]."""

    channels: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tokens:
    """Steps are int32 ids, [N, 1]; id 0 is every token that is not in the vocabulary."""

    size: int
    """V: ids run from 0 to V - 1."""
    vectors_VD: NDArray[np.float16] | None = None
    """Pretrained embedding of each id; zeros where none is known."""
    frozen: bool = False
    """Whether pretrained embeddings stay as they are in training, beside learned ones."""
    num_learned: int = 0
    """How many ids, the first ones, have a learned embedding beside a frozen one; 0 for all."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trees:
    """Steps are nodes in post-order, int32 [N, 3]: id, distance to the parent, height.

    Where the labels of nodes are targets too, the index of the label is a fourth number, -1
    without a label.

    Id 0 is a word that is not in the vocabulary, 1 a node without a word; a root has distance 0;
    leaves have height 0, any other node one more than its highest child.
    """

    size: int
    vectors_VD: NDArray[np.float16] | None = None
    frozen: bool = False
    num_learned: int = 0
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pixels:
    """Steps are rows of pixels from the top, uint8 or float32 [N, W * D], H steps an image."""

    height: int
    width: int
    colors: int
    mean: tuple[float, ...]
    """Of each color, over the training images."""
    std: tuple[float, ...]


FeatureSpec = Numbers | Tokens | Trees | Pixels
