"""Whether a champion's answers have fallen: told of rows that came since, beyond doubt or not."""

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
from tests.support.input_tables import CATEGORY, KINDS, table
from tests.support.reports import REPORT
from tests.support.scored_versions import delete_models, register_version
from tests.support.trained_models import BY_TIME, tides, weekly

pytestmark = pytest.mark.usefixtures("home")

GATE = GateConfig(bootstrap_samples=200, min_rows=20)

SALES = SeriesInput(column="sales", scale_per="entity")


@pytest.fixture(scope="module", autouse=True)
def models() -> Iterator[None]:
    yield
    delete_models()


def accepted(store: Store, frame: pl.DataFrame) -> Accepted:
    frame.write_parquet("today.parquet")
    snapshot = take_snapshot(SourceConfig(uri="today.parquet"), store, remember=False)
    rows = open_snapshot(store, snapshot).scan()
    rules = draft_contract(rows, name="waves", required_columns=tuple(frame.columns), target=None)
    return accept_snapshot(snapshot, rules, store)


def champion(store: Store, frame: pl.DataFrame, metric: str, **card: float) -> Champion:
    """Name the first version champion, of these rows and with this promise."""
    report = REPORT | {"intervals": {metric: card}}

    def build(folder: Path) -> ProfileFacts:
        (folder / "report.json").write_text(json.dumps(report))
        return ProfileFacts(columns=[])

    recipe = Recipe(stage="evaluate", version=0, config=card, inputs={"metric": metric})
    return Champion(
        name="waves",
        version="1",
        model_key="",
        report_key=produce(store, recipe, build, ProfileFacts).key,
        accepted_key=accepted(store, frame).key,
        source_uri="",
    )


def found(
    store: Store, before: pl.DataFrame, now: pl.DataFrame, metric: str, value: float
) -> ModelQuality:
    promised = champion(store, before, metric, value=value, low=value * 0.95, high=value * 1.05)
    return compare_quality(accepted(store, now), promised, GATE, store)


def test_a_fall_is_measured_by_both_intervals_and_below_zero_where_it_rose() -> None:
    promised = ScoreInterval(value=0.9, low=0.87, high=0.92)
    now = ScoreInterval(value=0.8, low=0.76, high=0.84)

    worse, better = compute_drop(promised, now, "macro_f1"), compute_drop(promised, now, "mae")

    assert worse.drop == pytest.approx(0.1)
    assert worse.low == pytest.approx(0.1 - (0.03**2 + 0.04**2) ** 0.5)
    assert worse.high == pytest.approx(0.1 + (0.02**2 + 0.04**2) ** 0.5)
    assert (better.drop, better.low, better.high) == pytest.approx(
        (-worse.drop, -worse.high, -worse.low)
    )


def test_only_rows_that_came_since_count_and_a_fall_is_seen(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    bundle = register_version(table(cells), layout, CATEGORY)
    new = table(cells, seed=8)
    right = new.with_columns(label=bundle.predict(new)["prediction"])
    wrong = right.with_columns(pl.col("label").replace({"a": "b", "b": "c", "c": "a"}))

    same = found(local_store, table(cells), table(cells), "macro_f1", 0.9)
    good = found(local_store, table(cells), pl.concat([table(cells), right]), "macro_f1", 0.9)
    bad = found(local_store, table(cells), pl.concat([table(cells), wrong]), "macro_f1", 0.9)

    assert same.drop is None
    assert same.rows == 0
    assert (good.rows, bad.rows) == (len(new), len(new))
    assert good.current.value == 1.0
    assert good.drop.low < 0
    assert bad.current.value == 0.0
    assert bad.drop.low > 0.5


@pytest.mark.parametrize("kind", ["number", "forecast", "reconstruction"])
def test_windows_are_judged_by_answers_that_came_since(kind: str, local_store: Store) -> None:
    column = "" if kind == "reconstruction" else "sales"
    horizon = 3 if kind == "forecast" else 1
    metric = "unexplained_variance" if kind == "reconstruction" else "mae"
    target = TargetConfig(column=column, kind=kind)
    register_version(tides(), weekly(SALES, horizon=horizon), target, split=BY_TIME)
    now = tides(220)
    last = tides(160)["day"].max()
    before = now.filter(pl.col("day") <= last)

    calm = found(local_store, before, now, metric, 1e6)
    risen = found(local_store, before, now, metric, 1e-6)

    answers = 60 - (horizon - 1)
    assert calm.rows == 2 * answers
    assert calm.drop.high < 0
    assert risen.drop.low > 0


def test_a_resampled_series_is_judged_from_its_next_step_on(local_store: Store) -> None:
    read = SeriesInput(column="sales", frequency="2d", aggregate="sum")
    layout = Layout(
        input=read, window=WindowConfig(lookback=5, horizon=1), time="day", entity="shop"
    )
    register_version(tides(), layout, TargetConfig(column="sales", kind="number"), split=BY_TIME)
    now = tides(220)
    before = now.filter(pl.col("day") <= tides(160)["day"].max())

    told = found(local_store, before, now, "mae", 1e6)

    assert told.rows == pytest.approx(60, abs=2)


def test_what_cannot_be_told_is_no_fall(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)
    gone = champion(local_store, table(cells), "macro_f1", value=1.0, low=1.0, high=1.0)
    new = accepted(local_store, pl.concat([table(cells), table(cells, seed=8)]))

    no_report = compare_quality(
        new, Champion(**{**as_fields(gone), "report_key": "0" * 32}), GATE, local_store
    )
    other = found(local_store, table(cells), table(cells, seed=8), "accuracy", 0.9)

    assert (no_report.drop, other.drop) == (None, None)
    assert "report" in no_report.unknown_reason
    assert "macro_f1 is not known" in other.unknown_reason


def as_fields(made: Champion) -> dict[str, str]:
    return {name: getattr(made, name) for name in Champion.__dataclass_fields__}
