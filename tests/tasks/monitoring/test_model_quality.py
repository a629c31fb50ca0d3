"""Performance drop of a champion on newer rows, with its confidence interval."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from data_contracts.draft import draft_contract
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.series import SeriesInput
from tasks.dataset.rowset import open_snapshot
from tasks.facts import ProfileFacts, ScoreInterval
from tasks.gate.comparison import GateConfig
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.monitoring.model_quality import ModelQuality, compare_quality, compute_drop
from tasks.records import Accepted, Champion
from tasks.storage.artifacts import Recipe, produce
from tasks.storage.store import Store
from tasks.validation.validate import accept_snapshot
from tests.support.input_tables import CATEGORY, KINDS, build_table
from tests.support.reports import REPORT
from tests.support.scored_versions import delete_models, register_version
from tests.support.trained_models import BY_TIME, build_weekly_layout, make_weekly_sales

pytestmark = pytest.mark.usefixtures("home")

GATE = GateConfig(bootstrap_samples=200, min_rows=20)

SALES = SeriesInput(column="sales", scale_per="entity")


@pytest.fixture(scope="module", autouse=True)
def delete_trained_models() -> Iterator[None]:
    yield
    delete_models()


def accept_frame(store: Store, frame: pl.DataFrame) -> Accepted:
    frame.write_parquet("rows.parquet")
    snapshot = take_snapshot(SourceConfig(uri="rows.parquet"), store, remember=False)
    rows = open_snapshot(store, snapshot).scan()
    contract = draft_contract(
        rows, name="waves", required_columns=tuple(frame.columns), target=None
    )
    return accept_snapshot(snapshot, contract, store)


def build_champion(store: Store, frame: pl.DataFrame, metric: str, **interval: float) -> Champion:
    """Return the first version as champion, with these rows and this reference score."""
    report = REPORT | {"intervals": {metric: interval}}

    def build(folder: Path) -> ProfileFacts:
        (folder / "report.json").write_text(json.dumps(report))
        return ProfileFacts(columns=[])

    recipe = Recipe(stage="evaluate", version=0, config=interval, inputs={"metric": metric})
    return Champion(
        name="waves",
        version="1",
        model_key="",
        report_key=produce(store, recipe, build, ProfileFacts).key,
        accepted_key=accept_frame(store, frame).key,
        source_uri="",
    )


def measure_quality(
    store: Store, before: pl.DataFrame, now: pl.DataFrame, metric: str, value: float
) -> ModelQuality:
    champion = build_champion(
        store, before, metric, value=value, low=value * 0.95, high=value * 1.05
    )
    return compare_quality(accept_frame(store, now), champion, GATE, store)


def test_a_drop_combines_both_intervals_and_is_negative_for_an_improvement() -> None:
    reference = ScoreInterval(value=0.9, low=0.87, high=0.92)
    current = ScoreInterval(value=0.8, low=0.76, high=0.84)

    worse, better = (
        compute_drop(reference, current, "macro_f1"),
        compute_drop(reference, current, "mae"),
    )

    assert worse.drop == pytest.approx(0.1)
    assert worse.low == pytest.approx(0.1 - (0.03**2 + 0.04**2) ** 0.5)
    assert worse.high == pytest.approx(0.1 + (0.02**2 + 0.04**2) ** 0.5)
    assert (better.drop, better.low, better.high) == pytest.approx(
        (-worse.drop, -worse.high, -worse.low)
    )


def test_a_drop_is_measured_on_new_rows_only(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    bundle = register_version(build_table(cells), layout, CATEGORY)
    new = build_table(cells, seed=8)
    correct = new.with_columns(label=bundle.predict(new)["prediction"])
    wrong = correct.with_columns(pl.col("label").replace({"a": "b", "b": "c", "c": "a"}))

    same = measure_quality(local_store, build_table(cells), build_table(cells), "macro_f1", 0.9)
    good = measure_quality(
        local_store, build_table(cells), pl.concat([build_table(cells), correct]), "macro_f1", 0.9
    )
    bad = measure_quality(
        local_store, build_table(cells), pl.concat([build_table(cells), wrong]), "macro_f1", 0.9
    )

    assert same.drop is None
    assert same.rows == 0
    assert (good.rows, bad.rows) == (len(new), len(new))
    assert good.current.value == 1.0
    assert good.drop.low < 0
    assert bad.current.value == 0.0
    assert bad.drop.low > 0.5


@pytest.mark.parametrize("kind", ["number", "forecast", "reconstruction"])
def test_windows_are_scored_by_new_targets(kind: str, local_store: Store) -> None:
    column = "" if kind == "reconstruction" else "sales"
    horizon = 3 if kind == "forecast" else 1
    metric = "unexplained_variance" if kind == "reconstruction" else "mae"
    target = TargetConfig(column=column, kind=kind)
    register_version(
        make_weekly_sales(), build_weekly_layout(SALES, horizon=horizon), target, split=BY_TIME
    )
    now = make_weekly_sales(220)
    last_day = make_weekly_sales(160)["day"].max()
    before = now.filter(pl.col("day") <= last_day)

    better = measure_quality(local_store, before, now, metric, 1e6)
    worse = measure_quality(local_store, before, now, metric, 1e-6)

    targets = 60 - (horizon - 1)
    assert better.rows == 2 * targets
    assert better.drop.high < 0
    assert worse.drop.low > 0


def test_a_forecast_of_several_columns_is_scored_where_one_of_them_is_known(
    local_store: Store,
) -> None:
    def make_rows(days: int) -> pl.DataFrame:
        return make_weekly_sales(days).with_columns(visits=1000 * pl.col("sales"))

    series = SeriesInput(column=("sales", "visits"), scale_per="entity")
    target = TargetConfig(column=("sales", "visits"), kind="forecast")
    register_version(make_rows(160), build_weekly_layout(series, horizon=3), target, split=BY_TIME)
    last_day = make_rows(160)["day"].max()
    now = make_rows(220).with_columns(
        visits=pl.when(pl.col("day") < pl.date(2024, 7, 20)).then("visits")
    )
    before = now.filter(pl.col("day") <= last_day)

    better = measure_quality(local_store, before, now, "mae", 1e6)
    worse = measure_quality(local_store, before, now, "mae", 1e-6)

    assert better.rows == 2 * (60 - 2)
    assert better.drop.high < 0
    assert worse.drop.low > 0
    # In standard deviations of each column and shop: about as good as in training.
    assert better.current.value < 1.5


def test_a_resampled_series_is_scored_from_its_next_step(local_store: Store) -> None:
    series = SeriesInput(column="sales", frequency="2d", aggregate="sum")
    layout = Layout(
        input=series, window=WindowConfig(lookback=5, horizon=1), time="day", entity="shop"
    )
    register_version(
        make_weekly_sales(), layout, TargetConfig(column="sales", kind="number"), split=BY_TIME
    )
    now = make_weekly_sales(220)
    before = now.filter(pl.col("day") <= make_weekly_sales(160)["day"].max())

    quality = measure_quality(local_store, before, now, "mae", 1e6)

    assert quality.rows == pytest.approx(60, abs=2)


def test_an_unknown_score_is_no_drop(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)
    champion = build_champion(
        local_store, build_table(cells), "macro_f1", value=1.0, low=1.0, high=1.0
    )
    new = accept_frame(local_store, pl.concat([build_table(cells), build_table(cells, seed=8)]))

    no_report = compare_quality(
        new, Champion(**{**list_fields(champion), "report_key": "0" * 32}), GATE, local_store
    )
    other = measure_quality(
        local_store, build_table(cells), build_table(cells, seed=8), "accuracy", 0.9
    )

    assert (no_report.drop, other.drop) == (None, None)
    assert "report" in no_report.unknown_reason
    assert "macro_f1 is not known" in other.unknown_reason


def list_fields(champion: Champion) -> dict[str, str]:
    return {name: getattr(champion, name) for name in Champion.__dataclass_fields__}
