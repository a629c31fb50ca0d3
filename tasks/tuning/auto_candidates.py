"""Networks among which `model: auto` chooses: by the kinds of input and target.

The cheap ones come first, so that they are tried within the shortest budget. Each is a `model`
section, as in a job file.
"""

from dataclasses import replace
from typing import Any

from models.features.config import SELF_SUPERVISED, Layout, TargetKind
from models.networks.config import ModelConfig, PoolingName
from models.networks.families import FAMILIES

_SMALL: dict[str, Any] = {"hidden_size": 32}
_MEDIUM: dict[str, Any] = {"hidden_size": 64, "num_layers": 2, "dropout": 0.2}
_LARGE: dict[str, Any] = {"hidden_size": 128, "num_layers": 2, "dropout": 0.4}

_EMBEDDING_DIMS = {32: 64, 64: 128, 128: 128}
"""Embedding dimension of tokens, by hidden size."""

_RECURRENT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gru", _SMALL),
    ("lstm", _SMALL),
    ("mingru", _MEDIUM),
    ("qrnn", _MEDIUM),
    ("gru", _MEDIUM),
    ("lstm", _MEDIUM),
    ("mingru", _LARGE),
    ("gru", _LARGE),
    ("lstm", _LARGE),
)
"""Recurrent cells and their sizes; all but the small ones may be bidirectional."""

_CONVOLUTIONAL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cnn", _MEDIUM),
    ("cnn", _LARGE | {"num_layers": 3}),
    ("tcn", _MEDIUM | {"num_layers": 4}),
)
"""Convolutional families and their sizes."""


def list_candidate_models(
    layout: Layout, kind: TargetKind, *, champion: ModelConfig | None = None
) -> list[ModelConfig]:
    """List the networks that are tried, and the champion's where it can read this input.

    Args:
        layout: with the kind of input.
        kind: of the target.
        champion: network of the version that serves predictions now.
    """
    models = (
        _list_tree_models(layout)
        if layout.input.kind == "tree"
        else _list_sequence_models(layout, kind)
    )
    if champion is not None and champion not in models and _can_read(champion, layout):
        models.append(champion)
    return models


def _can_read(model: ModelConfig, layout: Layout) -> bool:
    """Return whether a network of another job can read this input."""
    return (FAMILIES[model.cell].reads == "trees") == (layout.input.kind == "tree")


def _list_tree_models(layout: Layout) -> list[ModelConfig]:
    """List tree LSTMs, small to large, with ordered (n-ary) and unordered (child-sum) children."""
    # Supervised nodes are predicted as the root is, from their own state: pooling would differ.
    supervised = getattr(layout.input, "supervise_nodes", False)
    plain = [
        ModelConfig(cell="tree-lstm", hidden_size=64, embedding_dim=64),
        ModelConfig(cell="tree-lstm", hidden_size=64, embedding_dim=64, children="child-sum"),
        ModelConfig(cell="tree-lstm", hidden_size=128, embedding_dim=128, dropout=0.3),
        ModelConfig(
            cell="tree-lstm", hidden_size=128, embedding_dim=128, dropout=0.5, children="child-sum"
        ),
    ]
    large = ModelConfig(cell="tree-lstm", hidden_size=256, embedding_dim=256, dropout=0.5)
    return [*plain, large if supervised else replace(large, pooling=("last", "max"))]


def _list_sequence_models(layout: Layout, kind: TargetKind) -> list[ModelConfig]:
    """List networks that read a sequence of steps."""
    is_text, is_windowed = layout.input.kind == "text", layout.window is not None
    # The last step of a window is the nearest to its target; a next step depends on the past alone.
    reads_last = is_windowed or kind == "next_step"
    pooling: PoolingName = "last" if reads_last else ("max" if is_text else "mean")
    models = [
        _build_model_config(
            cell,
            size,
            is_text=is_text,
            pooling=pooling,
            bidirectional=not reads_last and size is not _SMALL,
        )
        for cell, size in _RECURRENT
    ]
    both: tuple[PoolingName, ...] = ("last", "mean") if is_windowed else ("mean", "max")
    models += [
        _build_model_config(cell, size, is_text=is_text, pooling=both)
        for cell, size in _CONVOLUTIONAL
        if kind != "next_step" or FAMILIES[cell].causal
    ]
    if layout.input.kind == "series" and not is_windowed and kind not in (*SELF_SUPERVISED, "text"):
        models += [
            replace(models[4], parallel_branch="fcn"),
        ]
    return models


def _build_model_config(
    cell: str,
    size: dict[str, Any],
    *,
    is_text: bool,
    **more: Any,  # noqa: ANN401 - settings
) -> ModelConfig:
    """Build the `model` section of a cell and a size."""
    embedded = {"embedding_dim": _EMBEDDING_DIMS[size["hidden_size"]]} if is_text else {}
    settings: dict[str, Any] = size | embedded | more
    return ModelConfig(cell=cell, **settings)
