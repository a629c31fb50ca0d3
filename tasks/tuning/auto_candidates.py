"""Networks among which `model: auto` chooses: by the kind of the input and of the answers.

Cheap ones come first, so that the shortest budget still tries them. Each is a plain section of a
job, as a person could have written it.
"""

from dataclasses import replace
from typing import Any

from models.features.config import MINED, Answer, Layout
from models.networks.config import ModelConfig, PoolingName
from models.networks.families import FAMILIES

SMALL: dict[str, Any] = {"hidden_size": 32}
MIDDLE: dict[str, Any] = {"hidden_size": 64, "num_layers": 2, "dropout": 0.2}
LARGE: dict[str, Any] = {"hidden_size": 128, "num_layers": 2, "dropout": 0.4}

EMBEDDINGS = {32: 64, 64: 128, 128: 128}
"""Numbers of a token's vector, by the units that read them."""

RECURRENT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gru", SMALL),
    ("lstm", SMALL),
    ("mingru", MIDDLE),
    ("qrnn", MIDDLE),
    ("gru", MIDDLE),
    ("lstm", MIDDLE),
    ("mingru", LARGE),
    ("gru", LARGE),
    ("lstm", LARGE),
)
"""Families and sizes that read from one end, or from both."""

CONVOLVED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cnn", MIDDLE),
    ("cnn", LARGE | {"num_layers": 3}),
    ("tcn", MIDDLE | {"num_layers": 4}),
)
"""Families that look at a part of the steps at once."""


def contenders(
    layout: Layout, kind: Answer, *, champion: ModelConfig | None = None
) -> list[ModelConfig]:
    """List the networks that are tried, the champion's among them where it can read this input.

    Args:
        layout: with the kind of input.
        kind: of the answers.
        champion: network of the version that serves.
    """
    tried = tree_networks(layout) if layout.input.kind == "tree" else step_networks(layout, kind)
    if champion is not None and champion not in tried and reads(champion, layout):
        tried.append(champion)
    return tried


def reads(model: ModelConfig, layout: Layout) -> bool:
    """Tell whether a network that was made for another job can read this input."""
    return (FAMILIES[model.cell].reads == "trees") == (layout.input.kind == "tree")


def tree_networks(layout: Layout) -> list[ModelConfig]:
    """List tree-lstms: small to large, with children in order and without."""
    # Where nodes teach they are answered as roots are, so nothing else is pooled.
    taught = getattr(layout.input, "supervise_nodes", False)
    plain = [
        ModelConfig(cell="tree-lstm", hidden_size=64, embedding_dim=64),
        ModelConfig(cell="tree-lstm", hidden_size=64, embedding_dim=64, children="child-sum"),
        ModelConfig(cell="tree-lstm", hidden_size=128, embedding_dim=128, dropout=0.3),
        ModelConfig(
            cell="tree-lstm", hidden_size=128, embedding_dim=128, dropout=0.5, children="child-sum"
        ),
    ]
    large = ModelConfig(cell="tree-lstm", hidden_size=256, embedding_dim=256, dropout=0.5)
    return [*plain, large if taught else replace(large, pooling=("last", "max"))]


def step_networks(layout: Layout, kind: Answer) -> list[ModelConfig]:
    """List networks that read steps in a line."""
    word, windowed = layout.input.kind == "text", layout.window is not None
    # The last step of a window is the nearest to its answer; of what is foretold no more is seen.
    ends = windowed or kind == "next_step"
    pooling: PoolingName = "last" if ends else ("max" if word else "mean")
    found = [
        named(cell, size, word=word, pooling=pooling, bidirectional=not ends and size is not SMALL)
        for cell, size in RECURRENT
    ]
    both: tuple[PoolingName, ...] = ("last", "mean") if windowed else ("mean", "max")
    found += [
        named(cell, size, word=word, pooling=both)
        for cell, size in CONVOLVED
        if kind != "next_step" or FAMILIES[cell].causal
    ]
    if layout.input.kind == "series" and not windowed and kind not in (*MINED, "text"):
        found += [
            replace(found[4], parallel_branch="fcn"),
            replace(found[0], parallel_branch="rocket"),
        ]
    return found


def named(cell: str, size: dict[str, Any], *, word: bool, **more: Any) -> ModelConfig:  # noqa: ANN401 - settings
    """Write the section of a job."""
    embedded = {"embedding_dim": EMBEDDINGS[size["hidden_size"]]} if word else {}
    settings: dict[str, Any] = size | embedded | more
    return ModelConfig(cell=cell, **settings)
