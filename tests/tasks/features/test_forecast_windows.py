"""Windows of a forecast: validation on the newest of each series, and targets as logarithms."""

from pathlib import Path

import numpy as np
import polars as pl

from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import TEST, TRAINING, VALIDATION, SplitConfig
from models.learning.config import TrainingConfig
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import load_test_rows
from tasks.prediction.test_predictions import predict_test_rows
from tasks.training.data import choose_windows
from tests.support.trained_models import train_bundle, write_features

SALES = TargetConfig(column="sales", kind="forecast")
BY_COLUMN = SplitConfig(by="column", column="subset")


def build_layout(scaler: str = "log") -> Layout:
    return Layout(
        input=SeriesInput(column="sales", scaler=scaler, scale_per="entity"),
        window=WindowConfig(lookback=8, horizon=3),
        time="day",
        entity="shop",
    )


def make_shops(
    lengths: dict[str, int], *, test_shops: tuple[str, ...] | None = None
) -> pl.DataFrame:
    """Return growing sales of some shops, the last three days of each in the test split."""
    parts = []
    for number, (shop, count) in enumerate(lengths.items()):
        day = np.arange(count)
        noise = np.random.default_rng(number).normal(0, 0.05, count)
        in_test = day >= count - 3 if test_shops is None else np.full(count, shop in test_shops)
        parts.append(
            pl.DataFrame(
                {
                    "shop": [shop] * count,
                    "day": day,
                    "sales": 10.0 ** (number + 1) * np.exp(0.01 * day + noise),
                    "subset": np.where(in_test, "test", "train"),
                }
            )
        )
    return pl.concat(parts)


def read_ends(folder: Path, frame: pl.DataFrame, split: int) -> pl.DataFrame:
    """Return shop and day of the last row of each window of a split."""
    rows = read_sequences(folder, split)["row"]
    return frame.with_row_index()[rows.to_list()].select("shop", "day")


def test_the_newest_of_each_series_are_validated_on_where_the_test_continues_them(
    tmp_path: Path,
) -> None:
    lengths = {"a": 103, "b": 63, "short": 24}
    frame = make_shops(lengths)
    write_features(tmp_path / "f", frame, build_layout(), SALES, BY_COLUMN)

    validated = read_ends(tmp_path / "f", frame, VALIDATION)
    learned = read_ends(tmp_path / "f", frame, TRAINING)

    days = {shop: validated.filter(pl.col("shop") == shop)["day"].to_list() for shop in lengths}
    # Of 100 and of 60 training days a tenth, in which the whole horizon lies.
    assert days == {"a": list(range(89, 97)), "b": list(range(53, 57)), "short": []}
    assert learned.filter(pl.col("shop") == "a")["day"].max() == 86
    assert learned.filter(pl.col("shop") == "short")["day"].max() == 17


def test_whole_series_are_validated_on_where_the_test_has_others(tmp_path: Path) -> None:
    shops = {f"s{number}": 40 for number in range(12)}
    frame = make_shops(shops, test_shops=("s10", "s11"))
    split = SplitConfig(by="column", column="subset", validation=0.3)
    write_features(tmp_path / "f", frame, build_layout(), SALES, split)

    validated = read_ends(tmp_path / "f", frame, VALIDATION)["shop"].unique().to_list()

    learned = read_ends(tmp_path / "f", frame, TRAINING)["shop"].unique().to_list()
    assert validated
    assert not set(validated) & set(learned)


def test_a_forecast_of_logarithms_comes_back_in_the_unit_of_the_target(tmp_path: Path) -> None:
    frame = make_shops({"a": 103, "b": 103})
    rows = write_features(tmp_path / "f", frame, build_layout(), SALES, BY_COLUMN)
    featurizer = load_featurizer(tmp_path / "f")
    test = load_test_rows(rows, tmp_path / "f", featurizer)

    bundle = train_bundle(tmp_path / "f", epochs=4)
    predictions = predict_test_rows(bundle, rows, test)

    expected = frame.filter(pl.col("subset") == "test")["sales"].to_numpy().reshape(2, 3)
    np.testing.assert_allclose(test.targets, expected, rtol=1e-5)
    forecast = np.array(predictions["prediction"].to_list())
    np.testing.assert_allclose(forecast, expected, rtol=0.5)
    low, high = (np.array(predictions[f"interval_{end}"].to_list()) for end in ("low", "high"))
    assert ((low <= forecast) & (forecast <= high)).all()
    assert featurizer.target.log_range is not None


def test_a_value_below_zero_is_a_target_of_logarithms_too(tmp_path: Path) -> None:
    frame = make_shops({"a": 103, "b": 103}).with_columns(
        sales=pl.when(pl.col("subset") == "test").then(-5.0).otherwise("sales")
    )
    rows = write_features(tmp_path / "f", frame, build_layout(), SALES, BY_COLUMN)

    test = load_test_rows(rows, tmp_path / "f", load_featurizer(tmp_path / "f"))

    np.testing.assert_allclose(test.targets, -5.0, rtol=1e-4)
    assert len(read_sequences(tmp_path / "f", TEST)) == 2


def test_at_most_so_many_windows_are_learned_from_spread_over_all(tmp_path: Path) -> None:
    write_features(tmp_path / "f", make_shops({"a": 103}), build_layout(), SALES, BY_COLUMN)
    featurizer = load_featurizer(tmp_path / "f")

    chosen = choose_windows(100, featurizer, TrainingConfig(max_windows=10))

    assert chosen is not None
    assert chosen.tolist() == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert choose_windows(100, featurizer, TrainingConfig(max_windows=100)) is None
    assert choose_windows(100, featurizer, TrainingConfig(max_windows=None)) is None
