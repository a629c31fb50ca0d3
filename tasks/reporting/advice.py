"""What to look at and to try after a training that was not good enough."""

import math
from collections.abc import Iterator, Mapping

from models.evaluation.metrics.by_kind import get_best_score
from models.learning.config import TrainingConfig
from tasks.dataset.split_warnings import list_split_warnings
from tasks.facts import CandidateFacts, FeatureFacts, ReportFacts, Scalar

_FEW_STEPS = 50
"""Optimizer steps in all below which a network has hardly left its initial weights."""

_EARLY_SHARE = 1 / 3
"""Share of the epochs within which the best one is early."""


def list_advice(
    report: ReportFacts, candidate: CandidateFacts, training: TrainingConfig
) -> list[str]:
    """List, in two sentences at most, what to do about a lost comparison; empty for none.

    Args:
        report: with the gate's decision.
        candidate: the training that led to it.
        training: its settings.
    """
    if not _is_lost(report):
        return []
    findings = "; ".join(_describe_training(candidate, training))
    return [findings, _suggest_run(training)] if findings else [_suggest_run(training)]


def list_training_warnings(candidate: CandidateFacts, features: FeatureFacts) -> list[str]:
    """List the reasons why a network could hardly learn, or be measured; empty for none."""
    if candidate.baseline is not None:
        return []
    warnings = list_split_warnings(features, in_folds=candidate.folds > 1)
    warnings += _describe_guessing(candidate, features)
    if candidate.epochs == 1:
        warnings.append(
            "the network was trained for a single epoch, the best of 1; raise training.epochs, or "
            "training.budget"
        )
    warnings += _describe_ended_budget(candidate)
    # An ensemble's facts are those of one network, with the plans of all.
    steps = candidate.epochs * max((_read_steps(plan) for plan in candidate.plans), default=0)
    if candidate.plans and steps < _FEW_STEPS:
        warnings.append(
            f"the network was trained for {steps} optimizer steps in all; lower "
            "training.batch_size, or raise training.epochs"
        )
    return warnings


def _describe_guessing(candidate: CandidateFacts, features: FeatureFacts) -> Iterator[str]:
    """Describe a recurrent part whose loss did not fall."""
    classes = len(features.classes)
    if classes > 1 and candidate.validation_loss >= math.log(classes):
        yield (
            f"the validation loss {candidate.validation_loss:.3g} of the recurrent part is that of "
            f"guessing among {classes} classes ({math.log(classes):.3g}) or worse; see the "
            "learning curve, and try more training.epochs or another training.learning_rate"
        )
    elif candidate.best_epoch == 1 < candidate.epochs:
        yield (
            f"the validation loss did not fall after the first of {candidate.epochs} epochs; try a "
            "lower training.learning_rate, more model.dropout, or more rows"
        )


def _describe_ended_budget(candidate: CandidateFacts) -> Iterator[str]:
    """Describe a training that the budget ended before the validation loss stopped it."""
    share = min((float(plan.get("budget_share") or 1.0) for plan in candidate.plans), default=1.0)
    if share < 1.0 and candidate.epochs >= candidate.epochs_planned:
        yield (
            f"training.budget ended the training before it converged, after {share:.0%} of the "
            "epochs that it would have had; raise training.budget"
        )


def _is_lost(report: ReportFacts) -> bool:
    """Whether the challenger is not significantly better than another model, and could be."""
    if report.decision == "promote" and not report.gate.is_tie:
        return False
    best = get_best_score(report.metric)
    return any(
        (each.low is None or each.low <= 0) and each.score != best
        for each in report.gate.comparisons
    )


def _describe_training(candidate: CandidateFacts, training: TrainingConfig) -> Iterator[str]:
    """Describe what the weight of the recurrent part and the learning curve show."""
    if candidate.recurrent_weight == 0:
        names = f" ({', '.join(candidate.branches)})" if candidate.branches else ""
        yield f"the recurrent part has weight 0 beside the branch{names}: it adds nothing yet"
    best, epochs = candidate.best_epoch, candidate.epochs
    if 1 < best == epochs == candidate.epochs_planned:
        limit = "training.epochs" if training.budget is None else "training.budget"
        yield f"the best epoch is the last of {epochs}, so it was still learning: raise {limit}"
    if best <= _EARLY_SHARE * epochs:
        yield (
            f"the best epoch is {best} of {epochs}, and then it overfits: more model.dropout, a "
            "smaller model.hidden_size, or more rows may help"
        )


def _suggest_run(training: TrainingConfig) -> str:
    """Suggest the next run."""
    if training.ensemble == 1 and training.weight_averaging != "swa":
        return "try --preset best, which trains longer, and several networks where it can"
    return (
        "report.html shows where it loses: see the learning curve, the slices and the explanations"
    )


def _read_steps(plan: Mapping[str, Scalar]) -> int:
    """Read the steps of an epoch from a plan; 0 where it has none."""
    steps = plan.get("steps")
    return steps if isinstance(steps, int) else 0
