"""How a challenger stands beside the best baseline, and the headline that says so."""

import pytest

from tasks.gate.comparison import Gain, GateConfig
from tasks.gate.standing import (
    compute_margin,
    format_headline,
    format_margin,
    rate_challenger,
)

GATE = GateConfig()

GAIN = Gain("ridge regression", False, 90, 0.2, 0.1, 1.0, score=1.0, reference_score=2.0)


@pytest.mark.parametrize(
    ("metric", "score", "margin", "text"),
    [
        ("accuracy", 0.9, 0.01, "0.01"),
        ("mcc", -0.5, 0.01, "0.01"),
        ("r2", -3.0, 0.01, "0.01"),
        ("bleu", 30.0, 1.0, "1"),
        ("log_loss", 0.02, 0.01, "0.01"),
        ("mae", 213.0, 2.13, "2.13 (1 % of its mae)"),
        ("hamming_loss", 0.02, 0.0002, "0.0002 (1 % of its hamming_loss)"),
        ("rmse", 0.0, 0.0, "0 (1 % of its rmse)"),
    ],
)
def test_the_margin_is_a_part_of_a_score_and_a_share_of_an_error(
    metric: str, score: float, margin: float, text: str
) -> None:
    gain = GAIN._replace(reference_score=score)

    assert compute_margin(gain, GATE, metric) == pytest.approx(margin)
    assert format_margin(gain, GATE, metric) == text


def test_a_margin_of_an_unknown_error_is_never_met() -> None:
    unknown = GAIN._replace(gain=0.0, low=-0.0, reference_score=float("nan"))

    assert rate_challenger(unknown, GATE, metric="mae", is_perfect=False) == "behind"


def test_the_margin_follows_the_size_of_an_error() -> None:
    gain = GAIN._replace(gain=1.0, low=-1.0, high=3.0)

    small, large = (gain._replace(reference_score=score) for score in (50.0, 500.0))

    assert rate_challenger(small, GATE, metric="mae", is_perfect=False) == "ahead"
    assert rate_challenger(large, GATE, metric="mae", is_perfect=False) == "tie"


@pytest.mark.parametrize(
    ("gain", "low", "high", "is_perfect", "words"),
    [
        (-0.1, -0.2, 0.1, False, "does not beat"),
        (-0.1, -0.2, -0.05, False, "does not beat"),
        (0.0, 0.0, 0.0, False, "A tie: the network is as good, within 0.02 (1 % of its mae), as"),
        (0.001, -0.01, 0.01, False, "A tie"),
        (-0.01, -0.015, -0.005, False, "is worse, by less than 0.02 (1 % of its mae), than"),
        (0.0, 0.0, 0.0, True, "no error, and neither does"),
        (0.1, -0.1, 0.3, False, "not significantly"),
        (0.2, 0.1, 0.3, True, "network beats"),
    ],
)
def test_the_headline_says_whether_the_network_beats_the_baseline(
    gain: float, low: float, high: float, is_perfect: bool, words: str
) -> None:
    measured = GAIN._replace(gain=gain, low=low, high=high)

    headline = format_headline(measured, GATE, metric="mae", test_rows=90, is_perfect=is_perfect)

    assert words in headline
    assert "ridge regression: mae 1.0000 against 2.0000 on 90 test rows" in headline


def test_the_headline_says_on_how_many_of_the_rows_its_scores_are() -> None:
    headline = format_headline(GAIN, GATE, metric="mae", test_rows=97, is_perfect=False)

    assert headline.endswith("on 90 of 97 test rows (the champion was trained on the other 7)")
