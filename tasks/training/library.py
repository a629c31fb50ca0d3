"""The networks that an ensemble is selected from, in the order of what usually wins.

The job's own network is the first. The others read the same features, with another cell, size or
convolutions, so that they err on other rows. By kind of input: series and sounds gain most from
convolutions beside and before the recurrent layers, texts from other cells, windows from patches
(SegRNN), trees from unordered children. A budget that ends early still has trained the first ones.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from models.features.config import Layout
from models.networks.config import OPTION_DEFAULTS, ModelConfig
from models.networks.families import FAMILIES

_PATCHES = 12
"""Patches that a window is cut into."""

_MIN_PATCHED_STEPS = 24

_CNN = {"cell": "cnn", "num_layers": 3, "downsample": 1}
"""Stacked convolutions that see some dozen steps, at every step."""

_QRNN = {"cell": "qrnn", "num_layers": 2}

_FCN = {"parallel_branch": "fcn"}


class Recipe(NamedTuple):
    """One network of the library."""

    name: str
    """Its number and cell, such as `2_lstm`."""
    model: ModelConfig


def list_library(layout: Layout, own: ModelConfig) -> list[Recipe]:
    """List the networks that are trained, the job's own first.

    Args:
        layout: with the kind of input.
        own: the job's network.
    """
    models = [own.recurrent_part]
    for changes in _list_changes(layout, own):
        found = _vary(own.recurrent_part, changes)
        if found is not None and found not in models:
            models.append(found)
    return [Recipe(f"{number}_{_name(model)}", model) for number, model in enumerate(models, 1)]


def _list_changes(layout: Layout, own: ModelConfig) -> list[dict[str, Any]]:
    """List how the other networks differ from the job's own, by the kind of input."""
    other = {"cell": "gru" if own.cell == "lstm" else "lstm"}
    wider = {"hidden_size": 2 * own.hidden_size, "dropout": max(own.dropout, 0.4)}
    fcn = [] if own.parallel_branch == "none" else [_FCN]
    if layout.input.kind == "tree":
        children = "n-ary" if own.children == "child-sum" else "child-sum"
        wider["embedding_dim"] = 2 * own.embedding_dim
        return [{"children": children}, wider, wider | {"children": children}]
    if layout.window is not None:
        stride = layout.window.lookback // _PATCHES
        patched = {"downsample": stride, "downsample_by": "patch"}
        patches = [patched] if layout.window.lookback >= _MIN_PATCHED_STEPS else []
        return [*patches, other, *fcn, wider, {"num_layers": 2, "dropout": max(own.dropout, 0.2)}]
    if layout.input.kind == "text":
        return [other, {"cell": "cnn", "kernel_size": 3}, _QRNN, wider]
    if layout.input.kind == "image":
        return [other, wider, *fcn, _QRNN]
    return [*fcn, _CNN, other, _QRNN, wider]


def _vary(own: ModelConfig, changes: dict[str, Any]) -> ModelConfig | None:
    """Return the network with changes; None where they do not fit it."""
    family = FAMILIES[changes.get("cell", own.cell)]
    changes = {
        **{k: default for k, default in OPTION_DEFAULTS.items() if k not in family.options},
        "pretrained_weights": None,
        "bidirectional": own.bidirectional and family.causal,
        **changes,
    }
    if changes.get("downsample") == 1:
        changes["downsample_by"] = "conv"
    try:
        return replace(own, **changes)
    except ValueError:
        return None


def _name(model: ModelConfig) -> str:
    """Name a network by its cell."""
    return f"{model.cell}_fcn" if model.parallel_branch == "fcn" else model.cell
