"""The advice after a lost comparison, and the warnings of a training that could hardly teach."""

import re
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from models.learning.config import TrainingConfig
from tasks.facts import CandidateFacts, FeatureFacts
from tasks.report_record import ReportRecord
from tasks.reporting.advice import list_advice, list_training_warnings
from tests.support.reports import GAIN, GATE, REPORT

CANDIDATE = CandidateFacts(
    epochs=12, best_epoch=8, validation_loss=0.5, padding_share=0.0, epochs_planned=12,
    learning_rate=0.01, batch_size=32, precision="fp32", data_loading="in_memory",
    kernels="torch", plans=[{"epochs": 12, "steps": 70}], parameters=1000, device="cpu",
    seconds=3.0, peak_memory_bytes=2**30, energy_joules=None,
)  # fmt: skip

FEATURES = FeatureFacts(
    training=200, validation=30, test=60, steps=2900, channels=1, classes=("a", "b"), unreadable=0,
    first_unreadable=None, unseen_classes=0, duplicates={},
)  # fmt: skip

TRAINING = TrainingConfig()


def build_report(decision: str, **gain) -> ReportRecord:
    """Return a report with this decision and this gain over the best baseline."""
    is_tie = gain.pop("is_tie", False)
    gate = GATE | {"decision": decision, "comparisons": [GAIN | gain], "is_tie": is_tie}
    content = REPORT | {"decision": decision, "gate": gate}
    return TypeAdapter(ReportRecord).validate_python(content)


LOST = build_report("keep", gain=-0.1, low=-0.2, high=0.1)


@pytest.mark.parametrize(
    ("report", "has_advice"),
    [
        (LOST, True),
        (build_report("promote", low=0.1), False),
        (build_report("promote", low=-0.005, is_tie=True), True),
        (build_report("promote", gain=0.0, low=0.0, score=1.0, is_tie=True), False),
        (build_report("keep", low=0.1), False),
        (build_report("needs-approval", gain=None, low=None, high=None), True),
    ],
    ids=["lost", "better", "tie", "no error", "a guardrail fails", "unknown"],
)
def test_there_is_advice_where_a_comparison_was_not_won(report, has_advice: bool) -> None:
    assert bool(list_advice(report, CANDIDATE, TRAINING)) == has_advice


@pytest.mark.parametrize(
    ("facts", "training", "first"),
    [
        ({"best_epoch": 12}, {}, r"the best epoch is the last of 12, .*: raise training\.epochs$"),
        ({"best_epoch": 12}, {"budget": 60.0}, r"the best epoch is the last .*training\.budget$"),
        ({"best_epoch": 3}, {}, r"the best epoch is 3 of 12, and then it overfits: .*dropout"),
        ({"recurrent_weight": 0.0, "branches": ("rocket",)}, {}, r"weight 0 .*\(rocket\): it adds"),
        ({}, {}, r"^try --preset best, which trains longer"),
        ({"epochs": 9, "best_epoch": 9}, {}, r"^try --preset best, which trains longer"),
    ],
)
def test_the_first_advice_is_what_the_training_shows(facts, training, first: str) -> None:
    advice = list_advice(LOST, replace(CANDIDATE, **facts), TrainingConfig(**training))

    assert re.search(first, advice[0])
    assert len(advice) <= 2


def test_what_the_training_shows_is_in_one_line() -> None:
    facts = replace(CANDIDATE, recurrent_weight=0.0, best_epoch=1)

    findings, suggestion = list_advice(LOST, facts, TRAINING)

    assert "adds nothing yet; the best epoch is 1 of 12" in findings
    assert suggestion.startswith("try --preset best")


def test_the_best_preset_is_not_advised_twice() -> None:
    _, suggestion = list_advice(LOST, replace(CANDIDATE, best_epoch=2), TrainingConfig(ensemble=5))

    assert suggestion.startswith("report.html shows where it loses")


@pytest.mark.parametrize(
    ("facts", "validation", "words"),
    [
        ({}, 30, []),
        ({}, 5, ["validation split has 5 rows only: too few to choose the best epoch by"]),
        ({"folds": 5}, 5, []),
        ({"plans": ()}, 30, []),
        ({"epochs": 9, "plans": [{"steps": 1}, {"steps": 1}]}, 30, ["for 9 optimizer steps"]),
        ({"epochs": 1, "best_epoch": 1}, 30, ["for a single epoch, the best of 1"]),
        ({"epochs": 1, "best_epoch": 1, "plans": [{"steps": 4}]}, 4,
         ["validation split has 4 rows", "single epoch", "4 optimizer steps"]),
        ({"validation_loss": 0.7}, 30, ["is that of guessing among 2 classes"]),
        ({"plans": [{"steps": 70, "budget_share": 0.24}]}, 30, ["after 24% of the epochs"]),
        ({"plans": [{"steps": 70, "budget_share": 0.24}], "epochs": 10}, 30, []),
        ({"plans": [{"steps": 70, "budget_share": 1.0}]}, 30, []),
        ({"best_epoch": 1}, 30, ["did not fall after the first of 12 epochs"]),
    ],
)  # fmt: skip
def test_a_training_that_could_hardly_teach_is_warned_of(facts, validation, words) -> None:
    warnings = list_training_warnings(
        replace(CANDIDATE, **facts), replace(FEATURES, validation=validation)
    )

    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))
