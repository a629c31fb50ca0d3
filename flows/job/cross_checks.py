"""Sections of a job that do not fit each other are refused before anything runs."""

from collections.abc import Callable
from dataclasses import fields
from typing import get_args

from models.evaluation.metrics.by_kind import METRICS
from models.features.config import MINED, Answer, Layout, TargetConfig
from models.learning.config import StopName, TrainingConfig
from models.networks.config import ModelConfig
from models.networks.heads.config import HeadConfig
from tasks.tuning.auto_candidates import contenders
from tasks.tuning.search_space import Domain, Range, Settings, TuningConfig


def refuse_own_answer(layout: Layout, target: str) -> None:
    """Refuse a target that is read as an input of the same row.

    Raises:
        ValueError: names the column.
    """
    windowed = layout.window is not None and layout.window.horizon > 0
    known = getattr(layout.input, "known_future", ())
    beside = [side.column for side in layout.statics]
    own = [*known, *([] if windowed else [*layout.input.columns, *beside])]
    if target and target in own:
        raise ValueError(f"target.column: '{target}' is also an input, so it would answer itself")


def refuse_patterns(columns: list[str]) -> None:
    """Refuse names that Polars reads as a pattern, and so as other columns.

    Raises:
        ValueError: names the column.
    """
    for name in columns:
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise ValueError(f"column: '{name}' means several columns; rename it upstream")


LOSSES: dict[Answer, set[str]] = {
    "category": {"class_weights", "focal_gamma", "label_smoothing"},
    "tags": {"class_weights", "focal_gamma", "label_smoothing"},
    "number": {"loss", "quantiles"},
    "forecast": {"loss", "quantiles", "decoder", "patch_length", "normalization"},
    "text": {"label_smoothing", "decoder", "beam_size"},
    "next_step": set(),
    "reconstruction": set(),
}
"""Settings of the head that mean something for each kind of answer."""

DECODERS: dict[Answer, tuple[str, ...]] = {
    "forecast": ("auto", "direct", "patches", "recursive"),
    "text": ("auto", "attention", "ctc"),
}


STOPS: dict[Answer, set[str]] = {
    "category": {"accuracy", "balanced_accuracy", "macro_f1", "log_loss"},
    "number": {"mae", "rmse", "r2"},
    "tags": {"macro_f1", "micro_f1", "exact_match", "hamming_loss"},
    "forecast": {"mae", "rmse", "smape", "pinball"},
    "text": {"character_error_rate", "word_error_rate", "exact_match", "bleu"},
    "next_step": {"unexplained_variance"},
    "reconstruction": {"unexplained_variance"},
}
"""Metrics that training may stop by; the metrics themselves are too heavy to import for `--help`.
"""


def refuse_sampling(training: TrainingConfig, target: TargetConfig) -> None:
    """Refuse to balance what has no classes.

    Raises:
        ValueError: names the setting.
    """
    if training.sampler == "balanced" and target.kind != "category":
        raise ValueError(
            f"training.sampler: a target of kind {target.kind} has no classes; remove it"
        )


def refuse_stops(training: TrainingConfig, target: TargetConfig) -> None:
    """Refuse to stop by a metric that this kind of answer does not have.

    Raises:
        ValueError: names the setting, and what there is.
    """
    known = [name for name in get_args(StopName) if name in STOPS[target.kind]]
    if training.early_stopping_metric not in {"loss", *known}:
        raise ValueError(
            f"training.early_stopping_metric: '{training.early_stopping_metric}' does not fit a target of kind "
            f"'{target.kind}'; choose one of {', '.join(['loss', *known])}"
        )


def refuse_losses(head: HeadConfig, target: TargetConfig) -> None:
    """Refuse settings of the head that mean nothing for this kind of answer.

    Raises:
        ValueError: names the setting.
    """
    plain, kind = HeadConfig(), target.kind
    for setting in fields(HeadConfig):
        name = setting.name
        if name not in LOSSES[kind] and getattr(head, name) != getattr(plain, name):
            raise ValueError(f"head.{name}: a target of kind {kind} has none; remove it")
    if kind in DECODERS and head.decoder not in DECODERS[kind]:
        raise ValueError(
            f"head.decoder: '{head.decoder}' makes no {kind}; "
            f"choose one of {', '.join(DECODERS[kind])}"
        )
    if head.decoder == "ctc" and head.label_smoothing:
        raise ValueError("head.label_smoothing: decoder ctc has none; remove it")


def refuse_forecasts(layout: Layout, head: HeadConfig, target: TargetConfig) -> None:
    """Refuse forecasts that cannot be made.

    Raises:
        ValueError: names the setting.
    """
    window, read = layout.window, layout.input
    if target.kind != "forecast":
        return
    if window is None or window.horizon < 1:
        raise ValueError("target.kind: a forecast needs `window`, with a horizon of 1 step or more")
    if window.horizon % head.patch_length:
        raise ValueError(
            f"head.patch_length: {head.patch_length} does not divide window.horizon {window.horizon}"
        )
    scale, by = getattr(read, "scaler", ""), getattr(read, "scale_per", "all")
    seen = target.column in getattr(read, "observed", ())
    if head.normalization != "none" and (not seen or scale in {"arcsinh", "none"}):
        raise ValueError(
            f"head.normalization: the target's past has to be read for it; name '{target.column}' "
            "under inputs.column, on a scale that is neither arcsinh nor none"
        )
    if head.loss == "negative_binomial" and by == "entity":
        raise ValueError("head.loss: counts have one scale; set inputs.scale_per: all")


def refuse_ensemble(training: TrainingConfig, target: TargetConfig) -> None:
    """Refuse an ensemble whose answers have no mean, or teach nothing.

    Raises:
        ValueError: names the setting.
    """
    if training.ensemble > 1 and target.kind == "text":
        raise ValueError(
            f"training.ensemble: {training.ensemble} texts have no mean; remove it, or set "
            "training.weight_averaging: swa, which averages the weights of one network"
        )
    if training.distill and target.kind in MINED:
        raise ValueError(
            f"training.distill: a target of kind {target.kind} is the sequence itself, of which "
            "others know nothing more; remove it"
        )


def refuse_auto(layout: Layout, target: TargetConfig, *, tuned: bool) -> None:
    """Refuse to choose a network by two searches at once, or where there is none to choose.

    Raises:
        ValueError: names the setting.
    """
    if tuned:
        raise ValueError(
            "tuning: model: auto searches by itself; remove one of them, or run once with "
            "model: auto and tune the network that it chose"
        )
    for model in contenders(layout, target.kind):
        refuse_unread(layout, model, target)


def refuse_unread(layout: Layout, model: ModelConfig, target: TargetConfig) -> None:
    """Refuse parts of the network that cannot read this input.

    Raises:
        ValueError: names the setting.
    """
    kind = layout.input.kind
    if (kind == "tree") != (model.cell == "tree-lstm"):
        raise ValueError(
            f"model.cell: '{model.cell}' cannot read a {kind}; "
            "trees are read by tree-lstm, everything else by the other cells"
        )
    if model.parallel_branch == "rocket" and kind == "text":
        raise ValueError(
            "model.parallel_branch: rocket reads numbers, and texts are learned vectors"
        )
    if getattr(layout.input, "supervise_nodes", False) and (
        target.kind != "category" or model.poolings != ("last",) or layout.statics
    ):
        raise ValueError(
            "inputs.supervise_nodes: nodes are answered as roots are; it needs a target of kind "
            "category, model.pooling: last and nothing beside the trees"
        )


def refuse_search(
    tuning: TuningConfig,
    target: TargetConfig,
    own: Settings,
    fitted: Callable[[Settings], object],
) -> None:
    """Refuse to search for what the answers have no measure of, or to try what fits no network.

    Args:
        tuning: the search.
        target: of the job.
        own: settings of the job.
        fitted: raises where settings do not fit the job.

    Raises:
        ValueError: names the setting.
    """
    known = ["loss", *METRICS[target.kind]]
    if tuning.metric not in known:
        raise ValueError(
            f"tuning.metric: '{tuning.metric}' does not fit a target of kind {target.kind}; "
            f"choose one of {', '.join(known)}"
        )
    domains = tuning.domains
    cells = [{"model.cell": cell} for cell in ends_of(domains.get("model.cell", ()))]
    for key, domain in domains.items():
        for value in ends_of(domain):
            refuse_value(key, value, own=own, cells=[{}, *cells], fitted=fitted)


def ends_of(domain: Domain) -> tuple[object, ...]:
    """List the values of a domain, or the ends of a range."""
    return (domain.low, domain.high) if isinstance(domain, Range) else domain


def refuse_value(
    key: str,
    value: object,
    *,
    own: Settings,
    cells: list[dict[str, object]],
    fitted: Callable[[Settings], object],
) -> None:
    """Refuse a value that fits the job with none of the cells that are tried.

    Raises:
        ValueError: why it does not fit the first.
    """
    faults = []
    for cell in cells:
        try:
            fitted(own.changed({**cell, key: value}))
        except ValueError as error:
            faults.append(error)
        else:
            return
    text = str(faults[0]).removeprefix(f"{key}: ").removeprefix(f"{key.partition('.')[2]}: ")
    raise ValueError(f"tuning.search_space.{key}: {value!r} does not fit: {text}") from faults[0]
