"""Networks among which `model: auto` chooses, in the order of what usually wins on such data.

One network of each branch comes first, so that the shortest budget reaches every branch before it
refines any: recurrent cells, scans that train all steps at once, convolutions, convolutions beside
recurrent layers, patches of windows, ordered and unordered children of trees. Their order, and that
of the larger and smaller ones behind them, follows the kind of input, its lengths and its rows.
Each is a `model` section, as in a job file.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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


_MANY_ROWS = 20_000
"""Training rows from which on large networks are tried before small ones."""

_LONG_SERIES, _DOWNSAMPLE = 100, 4
"""Mean steps from which on series in lists and sounds are shortened first, and by how much."""

_PATCHES, _MIN_LOOKBACK = 12, 24
"""Patches that windows are cut into, and the steps from which on they are."""

_BRANCH_ORDER: dict[str, tuple[str, ...]] = {
    "series": ("fcn", "recurrent", "convolution", "scan"),
    "audio": ("recurrent", "convolution", "scan"),
    "image": ("recurrent", "convolution", "scan"),
    "text": ("recurrent", "scan", "convolution"),
    "window": ("recurrent", "patches", "convolution", "scan"),
    "tree": ("n-ary", "child-sum"),
}
"""Branches by kind of input, those that win most often first."""


class DataSize(NamedTuple):
    """How much there is to learn from."""

    rows: int = 0
    """Of training."""
    length: float = 0.0
    """Mean steps of a sequence."""


def list_candidate_models(
    layout: Layout,
    kind: TargetKind,
    *,
    champion: ModelConfig | None = None,
    size: DataSize = DataSize(),  # noqa: B008 - immutable
) -> list[ModelConfig]:
    """List the networks that are tried, and the champion's where it can read this input.

    Args:
        layout: with the kind of input.
        kind: of the target.
        champion: network of the version that serves predictions now.
        size: of the data.
    """
    models = (
        _list_tree_models(layout)
        if layout.input.kind == "tree"
        else _list_sequence_models(layout, kind)
    )
    is_long = layout.input.kind in {"series", "audio"} and size.length >= _LONG_SERIES
    if is_long and layout.window is None and kind not in (*SELF_SUPERVISED, "text"):
        models = [_shorten(model) for model in models]
    if size.rows >= _MANY_ROWS:
        models.sort(key=lambda model: -model.hidden_size)
    order = _BRANCH_ORDER["window" if layout.window is not None else layout.input.kind]
    models = order_by_branch(models, order)
    if champion is not None and champion not in models and _can_read(champion, layout):
        models.append(champion)
    return models


def get_branch(model: ModelConfig) -> str:
    """Return what kind of network this is."""
    family = FAMILIES[model.cell]
    if family.reads == "trees":
        return model.children
    if model.parallel_branch == "fcn":
        return "fcn"
    if model.downsample_by == "patch":
        return "patches"
    if model.cell in {"cnn", "tcn"}:
        return "convolution"
    return "scan" if family.parallel else "recurrent"


def count_branches(models: Sequence[ModelConfig]) -> int:
    """Count the branches of the networks, each of which the first ones have once."""
    return len({get_branch(model) for model in models})


def order_by_branch(models: Sequence[ModelConfig], order: Sequence[str]) -> list[ModelConfig]:
    """Return the first network of each branch, in this order, then all others as they were."""
    branches = [get_branch(model) for model in models]
    first = [branches.index(branch) for branch in order if branch in branches]
    rest = [index for index in range(len(models)) if index not in first]
    return [models[index] for index in (*first, *rest)]


def _shorten(model: ModelConfig) -> ModelConfig:
    """Return a recurrent network whose sequences are shortened by convolutions first."""
    recurs = get_branch(model) in {"recurrent", "scan", "fcn"}
    return replace(model, downsample=_DOWNSAMPLE) if recurs else model


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
    window = layout.window
    if window is not None and kind != "next_step" and window.lookback >= _MIN_LOOKBACK:
        stride = window.lookback // _PATCHES
        models += [replace(models[4], downsample=stride, downsample_by="patch")]
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
