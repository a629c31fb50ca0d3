"""The default search space, by the kinds of input and target."""

from dataclasses import replace
from typing import Any

from models.features.config import SELF_SUPERVISED, Layout, TargetConfig
from tasks.tuning.search_space import Domain, Range, Settings, TuningConfig

_EMBEDDED_KINDS = ("text", "tree")
"""Kinds of input whose steps are embeddings."""

_TRAINING_SPACE: dict[str, Domain] = {
    "training.learning_rate": Range(low=5e-4, high=2e-2, log=True),
    "training.batch_size": (16, 32, 64, 128),
    "training.weight_decay": Range(low=1e-4, high=0.3, log=True),
}


def _build_default_space(layout: Layout, target: TargetConfig, *, metric: str) -> dict[str, Domain]:
    """Build the space that is searched by default.

    Args:
        layout: with the kind of input.
        target: with the kind of target.
        metric: that is improved.
    """
    kind = layout.input.kind
    space: dict[str, Domain] = {
        "model.hidden_size": (32, 64, 128, 256),
        "model.num_layers": (1, 2),
        "model.dropout": Range(low=0.0, high=0.5),
    }
    if kind in _EMBEDDED_KINDS:
        space["model.embedding_dim"] = (64, 128, 256)
    if kind == "tree":
        space["model.children"] = ("n-ary", "child-sum")
    else:
        space["model.cell"] = ("gru", "lstm", "mingru", "qrnn")
    if kind != "tree" and target.kind != "next_step":
        space["model.bidirectional"] = (False, True)
    if not getattr(layout.input, "supervise_nodes", False) and target.kind not in SELF_SUPERVISED:
        space["model.pooling"] = ("last", "mean", "max", "attention")
    space |= _TRAINING_SPACE
    if target.kind == "category" and metric != "loss":
        space["training.sampler"] = ("random", "balanced")
    return space


def build_search_space(
    tuning: TuningConfig, base: Settings, layout: Layout, target: TargetConfig
) -> dict[str, Domain]:
    """Build the space of a job: the default one, with the domains of the job in place of its own.

    Default domains are widened to contain the job's own values. The cell comes first, for it
    decides which other settings there are.
    """
    default = _build_default_space(layout, target, metric=tuning.metric)
    given = tuning.domains
    space = {key: _widen_domain(domain, base.get(key)) for key, domain in default.items()} | given
    searched = {key: domain for key, domain in space.items() if domain != ()}
    return dict(sorted(searched.items(), key=lambda entry: (entry[0] != "model.cell", entry[0])))


def _widen_domain(domain: Domain, value: Any) -> Domain:  # noqa: ANN401 - of any setting
    """Return the domain, widened to contain a value where it can."""
    if not isinstance(domain, Range):
        return domain if value in domain else (*domain, value)
    if isinstance(value, str) or value is None or (domain.log and value <= 0):
        return domain
    return replace(domain, low=min(domain.low, value), high=max(domain.high, value))


def contains_value(domain: Domain, value: Any) -> bool:  # noqa: ANN401 - of any setting
    """Return whether a domain contains a value."""
    if not isinstance(domain, Range):
        return value in domain
    return isinstance(value, int | float) and domain.low <= value <= domain.high
