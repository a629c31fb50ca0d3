"""Checks across the sections of a job, made before anything runs.

Each raises a ValueError that begins with the key and ends with the fix.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Literal, get_args

from models.evaluation.metrics.by_kind import DESCRIPTIVE_METRICS, METRICS
from models.features.config import SELF_SUPERVISED, Layout, TargetConfig, TargetKind
from models.learning.config import EarlyStoppingMetric, TrainingConfig
from models.networks.config import ModelConfig
from models.networks.families import FAMILIES
from models.networks.heads.config import HeadConfig
from tasks.gate.comparison import GateConfig
from tasks.tuning.auto_candidates import list_candidate_models
from tasks.tuning.search_space import Domain, Range, Settings, TuningConfig


def check_target_is_no_input(layout: Layout, targets: Sequence[str]) -> None:
    """Check that no target is an input of the same row.

    Raises:
        ValueError: names the column.
    """
    is_window = layout.window is not None and layout.window.horizon > 0
    known_future = getattr(layout.input, "known_future", ())
    static_columns = [covariate.column for covariate in layout.static_inputs]
    input_columns = [
        *known_future,
        *([] if is_window else [*layout.input.columns, *static_columns]),
    ]
    for name in targets:
        if name in input_columns:
            hint = (
                "; to read its past, set window.horizon: 1, and name the columns that are known "
                "at the time of the target under inputs.known_future"
                if layout.window and name not in known_future
                else ""
            )
            raise ValueError(
                f"target.column: '{name}' is also an input; remove it from inputs{hint}"
            )


def check_column_names(columns: list[str]) -> None:
    """Check that Polars reads no column name as a pattern for other columns.

    Raises:
        ValueError: names the column.
    """
    for name in columns:
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise ValueError(f"column: '{name}' is a pattern in Polars; rename it upstream")


_HEAD_SETTINGS: dict[TargetKind, set[str]] = {
    "category": {"class_weights", "focal_gamma", "label_smoothing"},
    "tags": {"class_weights", "focal_gamma", "label_smoothing"},
    "number": {"loss", "quantiles"},
    "forecast": {"loss", "quantiles", "decoder", "patch_length", "normalization"},
    "text": {"label_smoothing", "decoder", "beam_size"},
    "next_step": set(),
    "reconstruction": set(),
}
"""Settings of the head that have an effect for each kind of target."""

_DECODERS: dict[TargetKind, tuple[str, ...]] = {
    "forecast": ("auto", "direct", "patches", "recursive"),
    "text": ("auto", "attention", "ctc"),
}


EARLY_STOPPING_METRICS: dict[TargetKind, set[str]] = {
    "category": {"accuracy", "balanced_accuracy", "macro_f1", "log_loss"},
    "number": {"mae", "rmse", "r2"},
    "tags": {"macro_f1", "micro_f1", "exact_match", "hamming_loss"},
    "forecast": {"mae", "rmse", "smape", "pinball"},
    "text": {"character_error_rate", "word_error_rate", "exact_match", "bleu"},
    "next_step": {"unexplained_variance"},
    "reconstruction": {"unexplained_variance"},
}
"""Metrics for early stopping of each kind of target; the ones that are cheap enough per epoch."""


def check_sampler(training: TrainingConfig, target: TargetConfig) -> None:
    """Check that only a target with classes is sampled by class.

    Raises:
        ValueError: names the setting.
    """
    if training.sampler == "balanced" and target.kind != "category":
        raise ValueError(
            f"training.sampler: a target of kind {target.kind} has no classes; remove it"
        )


def check_early_stopping_metric(training: TrainingConfig, target: TargetConfig) -> None:
    """Check that the metric of early stopping exists for this kind of target.

    Raises:
        ValueError: names the setting and the choices.
    """
    known = [
        name
        for name in get_args(EarlyStoppingMetric)
        if name in EARLY_STOPPING_METRICS[target.kind]
    ]
    if training.early_stopping_metric not in {"loss", *known}:
        raise ValueError(
            f"training.early_stopping_metric: '{training.early_stopping_metric}' does not fit a "
            f"target of kind '{target.kind}'; choose one of {', '.join(['loss', *known])}"
        )


def check_gate_metric(gate: GateConfig, target: TargetConfig) -> None:
    """Check that the deciding metric exists for this kind of target.

    Raises:
        ValueError: names the setting and the choices.
    """
    known = [name for name in METRICS[target.kind] if name not in DESCRIPTIVE_METRICS]
    if gate.metric not in {"auto", *known}:
        raise ValueError(
            f"gate.metric: '{gate.metric}' does not fit a target of kind '{target.kind}'; choose "
            f"one of {', '.join(['auto', *known])}"
        )


def check_head(head: HeadConfig, target: TargetConfig) -> None:
    """Check that the settings of the head have an effect for this kind of target.

    Raises:
        ValueError: names the setting.
    """
    default, kind = HeadConfig(), target.kind
    for setting in fields(HeadConfig):
        name = setting.name
        if name not in _HEAD_SETTINGS[kind] and getattr(head, name) != getattr(default, name):
            raise ValueError(
                f"head.{name}: a target of kind {kind} does not have this setting; remove it"
            )
    if kind in _DECODERS and head.decoder not in _DECODERS[kind]:
        raise ValueError(
            f"head.decoder: '{head.decoder}' cannot predict a {kind}; "
            f"choose one of {', '.join(_DECODERS[kind])}"
        )
    if head.decoder == "ctc" and head.label_smoothing:
        raise ValueError("head.label_smoothing: decoder ctc does not have this setting; remove it")


def check_forecast(layout: Layout, head: HeadConfig, target: TargetConfig) -> None:
    """Check that a forecast has a horizon, and that the head fits it.

    Raises:
        ValueError: names the setting.
    """
    window, series = layout.window, layout.input
    if target.kind != "forecast":
        return
    if window is None or window.horizon < 1:
        raise ValueError("target.kind: a forecast needs `window`, with a horizon of 1 step or more")
    if window.horizon % head.patch_length:
        raise ValueError(
            f"head.patch_length: {head.patch_length} does not divide window.horizon "
            f"{window.horizon}; choose a divisor of it"
        )
    scaler = getattr(series, "scaler", "")
    observed = getattr(series, "observed", ())
    no_past = [name for name in target.columns if name not in observed]
    if head.normalization != "none" and (no_past or scaler in {"arcsinh", "none"}):
        missing = ", ".join(f"'{name}'" for name in no_past or target.columns)
        raise ValueError(
            f"head.normalization: it needs the target's past as an input; add {missing} "
            "to inputs.column, with a scaler that is neither arcsinh nor none"
        )
    if head.loss == "negative_binomial" and len(target.columns) > 1:
        raise ValueError(
            "head.loss: negative_binomial forecasts one column; name one in target.column, or set "
            "head.loss: student_t"
        )
    if head.loss == "negative_binomial" and scaler == "log":
        raise ValueError("head.loss: negative_binomial counts; set inputs.scaler: standard")
    if head.loss == "negative_binomial" and getattr(series, "scale_per", "all") == "entity":
        raise ValueError("head.loss: negative_binomial needs one scale; set inputs.scale_per: all")


def check_ensemble(training: TrainingConfig, target: TargetConfig) -> None:
    """Check that the predictions of an ensemble can be averaged, and that it can be distilled.

    Raises:
        ValueError: names the setting.
    """
    if training.ensemble != 1 and target.kind == "text":
        count = "" if training.ensemble == "auto" else f"{training.ensemble} "
        raise ValueError(
            f"training.ensemble: {count}texts cannot be averaged; remove it, "
            "or set training.weight_averaging: swa, which averages the weights of one network"
        )
    if training.ensemble == "auto" and target.kind in SELF_SUPERVISED:
        raise ValueError(
            f"training.ensemble: auto selects by a target, and one of kind {target.kind} is the "
            "sequence itself; set a number, such as 5"
        )
    if training.distill and target.kind in SELF_SUPERVISED:
        raise ValueError(
            f"training.distill: a target of kind {target.kind} is the sequence itself, so a "
            "teacher adds nothing; remove it"
        )


def check_pretraining(
    layout: Layout, model: ModelConfig | Literal["auto"], training: TrainingConfig
) -> None:
    """Check that the network can predict the next step, and does so before one training only.

    Raises:
        ValueError: names the setting.
    """
    if training.pretrain == "none":
        return
    if model == "auto":
        raise ValueError(
            "training.pretrain: model: auto would pretrain each network that it tries; name one "
            "network, such as model: {cell: gru}, or remove pretrain"
        )
    if layout.input.kind == "tree" or not FAMILIES[model.cell].causal:
        raise ValueError(
            f"training.pretrain: a {model.cell} does not read step by step, so it has no next "
            "step to predict; choose another model.cell, or remove pretrain"
        )
    if model.downsample != 1:
        raise ValueError(
            "training.pretrain: every step is predicted; set model.downsample: 1, or remove "
            "pretrain"
        )
    if getattr(layout.input, "sequence", "") in {"convolutions", "backbone"}:
        raise ValueError(
            "training.pretrain: steps that are computed by layers are not predicted; set "
            "inputs.sequence: rows, columns or patches, or remove pretrain"
        )


def check_auto_model(layout: Layout, target: TargetConfig, *, has_tuning: bool) -> None:
    """Check that there is one search only, and that its candidates fit the input.

    Raises:
        ValueError: names the setting.
    """
    if has_tuning:
        raise ValueError(
            "tuning: model: auto is a search already; remove one of the two, or run once with "
            "model: auto and tune the network that it chose"
        )
    for model in list_candidate_models(layout, target.kind):
        check_model_reads_input(layout, model, target)


def check_model_reads_input(layout: Layout, model: ModelConfig, target: TargetConfig) -> None:
    """Check that the network can read this kind of input.

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
        raise ValueError("model.parallel_branch: rocket reads numbers, not text; set none or fcn")
    if getattr(layout.input, "supervise_nodes", False) and (
        target.kind != "category" or model.poolings != ("last",) or layout.static_inputs
    ):
        raise ValueError(
            "inputs.supervise_nodes: a node is predicted as a root is; it needs a target of kind "
            "category, model.pooling: last and no other input"
        )


def check_tuning(
    tuning: TuningConfig,
    target: TargetConfig,
    own: Settings,
    apply_settings: Callable[[Settings], object],
) -> None:
    """Check that the metric of a search exists, and that each end of its domains fits the job.

    Args:
        tuning: the search.
        target: the job's target.
        own: the job's settings.
        apply_settings: raises a ValueError where settings do not fit the job.

    Raises:
        ValueError: names the setting.
    """
    known = ["loss", *METRICS[target.kind]]
    if len(target.columns) < 2 and target.kind == "forecast":
        known.remove("mse")
    if tuning.metric not in known:
        raise ValueError(
            f"tuning.metric: '{tuning.metric}' does not fit a target of kind {target.kind}; "
            f"choose one of {', '.join(known)}"
        )
    domains = tuning.domains
    cells = [{"model.cell": cell} for cell in _list_extremes(domains.get("model.cell", ()))]
    for key, domain in domains.items():
        for value in _list_extremes(domain):
            _check_search_value(
                key, value, own=own, cells=[{}, *cells], apply_settings=apply_settings
            )


def _list_extremes(domain: Domain) -> tuple[object, ...]:
    """Return the values of a choice, or both ends of a range."""
    return (domain.low, domain.high) if isinstance(domain, Range) else domain


def _check_search_value(
    key: str,
    value: object,
    *,
    own: Settings,
    cells: list[dict[str, object]],
    apply_settings: Callable[[Settings], object],
) -> None:
    """Check that a value fits the job with at least one of the candidate cells.

    Raises:
        ValueError: why it does not fit the first cell.
    """
    errors = []
    for cell in cells:
        try:
            apply_settings(own.with_values({**cell, key: value}))
        except ValueError as error:
            errors.append(error)
        else:
            return
    text = str(errors[0]).removeprefix(f"{key}: ").removeprefix(f"{key.partition('.')[2]}: ")
    raise ValueError(f"tuning.search_space.{key}: {value!r} does not fit: {text}") from errors[0]
