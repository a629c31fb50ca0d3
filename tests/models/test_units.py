"""Settings: numbers with units are parsed, and invalid ones are refused."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from models.features.config import Layout, WindowConfig
from models.features.series import SeriesInput
from models.learning.config import TrainingConfig
from models.networks.config import ModelConfig
from models.units import Duration, Share

SHARE, DURATION = TypeAdapter(Share), TypeAdapter(Duration)

UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def pattern(adapter: TypeAdapter) -> str:
    return next(kind["pattern"] for kind in adapter.json_schema()["anyOf"] if "pattern" in kind)


@given(st.integers(0, 1000), st.sampled_from(["", " ", "  "]))
def test_a_percentage_is_a_fraction(tenths: int, space: str) -> None:
    text = f"{space}{tenths / 10}{space}%{space}"

    assert SHARE.validate_python(text) == pytest.approx(tenths / 1000, abs=1e-15)


@given(st.integers(0, 10_000), st.sampled_from(sorted(UNITS)))
def test_a_duration_is_its_seconds_in_any_unit(count: int, unit: str) -> None:
    seconds = DURATION.validate_python(f"{count}{unit}")

    assert seconds == pytest.approx(timedelta(**{UNITS[unit]: count}).total_seconds(), rel=1e-12)


@given(st.floats(0, 1))
def test_a_plain_number_is_not_changed(number: float) -> None:
    assert SHARE.validate_python(number) == number
    assert DURATION.validate_python(number) == number


@pytest.mark.parametrize("text", ["20", "a fifth", "-5%", "%", "", "2 0%", "1e1%", "5%%"])
def test_a_text_that_is_no_share_is_rejected_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a share; .*such as '20%'"):
        SHARE.validate_python(text)


@pytest.mark.parametrize("text", ["10", "ten minutes", "-1s", "10 min", "", "1h30m", "5M"])
def test_a_text_that_is_no_duration_is_rejected_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a duration; .*such as '30s' or '10m'"):
        DURATION.validate_python(text)


@pytest.mark.parametrize("adapter", [SHARE, DURATION], ids=["share", "duration"])
@given(data=st.data())
def test_the_schema_allows_exactly_the_texts_that_can_be_parsed(adapter: TypeAdapter, data) -> None:
    text = data.draw(st.from_regex(pattern(adapter)) | st.text(max_size=6))

    allowed = re.search(pattern(adapter), text) is not None

    if allowed:
        assert adapter.validate_python(text) >= 0
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeriesInput(column=()), "column: name at least one"),
        (lambda: WindowConfig(lookback=0), "lookback: 0 is too small; give at least 1"),
        (lambda: WindowConfig(lookback=5, horizon=-1), "horizon: -1 lies in the past"),
        (lambda: ModelConfig(hidden_size=0), "hidden_size: 0 is too small; give at least 1"),
        (lambda: ModelConfig(num_layers=0), "num_layers: 0 is too small; give at least 1"),
        (lambda: ModelConfig(dropout=1.0), "dropout: 1.0 is not between 0 and 1"),
        (lambda: TrainingConfig(epochs=0), "epochs: 0 is too small; give at least 1"),
        (lambda: TrainingConfig(patience=0), "patience: 0 is too small; give at least 1"),
        (lambda: TrainingConfig(batch_size=-3), "batch_size: -3 is too small; give at least 1"),
        (lambda: TrainingConfig(learning_rate=0.0), "learning_rate: 0.0 is not above 0"),
        (lambda: TrainingConfig(max_grad_norm=-1.0), "max_grad_norm: -1.0 is not above 0"),
        (lambda: TrainingConfig(weight_decay=-0.1), "weight_decay .*give 0 or more"),
    ],
)
def test_an_invalid_setting_is_rejected_by_its_key(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_prediction_needs_the_key_columns_of_a_window_and_each_column_once() -> None:
    channels = SeriesInput(column=("kw", "day"))

    windowed = Layout(input=channels, window=WindowConfig(lookback=2), time="day", entity="shop")
    whole = Layout(input=channels, window=None, time="day", entity="shop")

    assert windowed.raw_columns == ["kw", "day", "shop"]
    assert whole.raw_columns == ["kw", "day"]
