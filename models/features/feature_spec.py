"""What a network is told about the steps of its input: the face between features and networks.

Shapes: N steps, C channels, V ids, D numbers of a vector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Numbers:
    """Steps are float32 channels on the scale that a network likes, [N, C]."""

    channels: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tokens:
    """Steps are int32 ids, [N, 1]; 0 stands for all that training never showed."""

    size: int
    """V: ids run from 0 to V - 1."""
    vectors_VD: NDArray[np.float32] | None = None
    """Where learning of the ids' vectors begins; zeros where none is known."""
    frozen: bool = False
    """Whether those vectors stay as they are."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trees:
    """Steps are nodes in post-order, int32 [N, 3]: id, distance to the parent, height.

    Where training learns from the labels of nodes, their place among these is a fourth number,
    -1 without one.

    Id 0 is a word that training never showed, 1 a node without a word; a root has distance 0;
    leaves have height 0, any other node one more than its highest child.
    """

    size: int
    vectors_VD: NDArray[np.float32] | None = None
    frozen: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pixels:
    """Steps are rows of pixels from the top, uint8 or float32, [N, W * D], every image H steps."""

    height: int
    width: int
    colors: int
    mean: tuple[float, ...]
    """Of each color in training."""
    std: tuple[float, ...]


FeatureSpec = Numbers | Tokens | Trees | Pixels
