"""What is tried where a job does not say: by the kind of its input, and of its answers."""

from dataclasses import replace
from typing import Any

from models.features.config import MINED, Layout, TargetConfig
from tasks.tuning.search_space import Domain, Range, Settings, TuningConfig

WORDS = ("text", "tree")
"""Kinds whose steps are learned vectors."""

TRAINING: dict[str, Domain] = {
    "training.learning_rate": Range(low=5e-4, high=2e-2, log=True),
    "training.batch_size": (16, 32, 64, 128),
    "training.weight_decay": Range(low=1e-4, high=0.3, log=True),
}


def usual_space(layout: Layout, target: TargetConfig, *, metric: str) -> dict[str, Domain]:
    """List what is tried by default.

    Args:
        layout: with the kind of input.
        target: with the kind of answers.
        metric: that is improved.
    """
    kind = layout.input.kind
    space: dict[str, Domain] = {
        "model.hidden_size": (32, 64, 128, 256),
        "model.num_layers": (1, 2),
        "model.dropout": Range(low=0.0, high=0.5),
    }
    if kind in WORDS:
        space["model.embedding_dim"] = (64, 128, 256)
    if kind == "tree":
        space["model.children"] = ("n-ary", "child-sum")
    else:
        space["model.cell"] = ("gru", "lstm", "mingru", "qrnn")
    if kind != "tree" and target.kind != "next_step":
        space["model.bidirectional"] = (False, True)
    if not getattr(layout.input, "supervise_nodes", False) and target.kind not in MINED:
        space["model.pooling"] = ("last", "mean", "max", "attention")
    space |= TRAINING
    if target.kind == "category" and metric != "loss":
        space["training.sampler"] = ("random", "balanced")
    return space


def space_of(
    tuning: TuningConfig, own: Settings, layout: Layout, target: TargetConfig
) -> dict[str, Domain]:
    """Join what the job says to what is usual, the cell first, for other settings hang on it.

    What is usual is widened to hold the job's own values.
    """
    usual = usual_space(layout, target, metric=tuning.metric)
    told = tuning.domains
    space = {key: widened(domain, own.get(key)) for key, domain in usual.items()} | told
    kept = {key: domain for key, domain in space.items() if domain != ()}
    return dict(sorted(kept.items(), key=lambda entry: (entry[0] != "model.cell", entry[0])))


def widened(domain: Domain, value: Any) -> Domain:  # noqa: ANN401 - of any setting
    """Return the domain with a value in it, if it can hold that."""
    if not isinstance(domain, Range):
        return domain if value in domain else (*domain, value)
    if isinstance(value, str) or value is None or (domain.log and value <= 0):
        return domain
    return replace(domain, low=min(domain.low, value), high=max(domain.high, value))


def holds(domain: Domain, value: Any) -> bool:  # noqa: ANN401 - of any setting
    """Tell whether a domain has this value."""
    if not isinstance(domain, Range):
        return value in domain
    return isinstance(value, int | float) and domain.low <= value <= domain.high
