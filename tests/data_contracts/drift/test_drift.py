"""Drift: figures agree with scipy's, chance is not called drift, and the reason can be read."""

import math
import warnings
from dataclasses import fields
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from data_contracts.drift import distance
from data_contracts.drift.distribution import ProfileError
from data_contracts.drift.drift import ColumnDrift, DriftConfig, compare_profiles
from data_contracts.drift.profile import Profile, measure_rows, profile_rows

BINS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=30)
NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80)
LIMITS = DriftConfig()


def compare(before: pl.DataFrame, today: pl.DataFrame, limits: DriftConfig = LIMITS) -> ColumnDrift:
    """Compare the one column of two frames."""
    reference = profile_rows(before.lazy(), before.columns)
    (result,) = compare_profiles(reference, measure_rows(today.lazy(), reference), limits)
    return result


def make_columns(*rows: object, dtype: object = None) -> list[pl.DataFrame]:
    return [pl.DataFrame({"x": pl.Series(list(values), dtype=dtype)}) for values in rows]


def split_pairs(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    before, today = (list(side) for side in zip(*pairs, strict=True))
    assume(sum(before) and sum(today))
    return before, today


def compute_expected_psi(before: list[int], today: list[int]) -> float:
    pairs = [(old, new) for old, new in zip(before, today, strict=True) if old or new]
    total = 0.0
    for old, new in pairs:
        p = (old + 0.5) / (sum(before) + 0.5 * len(pairs))
        q = (new + 0.5) / (sum(today) + 0.5 * len(pairs))
        total += (q - p) * math.log(q / p)
    return total


def compute_exact_statistic(before: list[float], today: list[float]) -> float:
    # scipy divides by the effective rows, which for single rows round to none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(ks_2samp(before, today, method="asymp").statistic)


@given(pairs=BINS)
def test_psi_is_its_formula(pairs) -> None:
    before, today = split_pairs(pairs)

    result = distance.compute_psi(before, today)

    assert result == pytest.approx(compute_expected_psi(before, today), rel=1e-9, abs=1e-12)
    assert result == pytest.approx(distance.compute_psi(today, before), rel=1e-9, abs=1e-12)
    assert result >= 0
    assert distance.compute_psi(before, before) == 0


@given(pairs=BINS)
def test_jensen_shannon_agrees_with_scipy(pairs) -> None:
    before, today = split_pairs(pairs)

    # scipy's square root of a divergence that rounding took below zero is NaN.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = float(jensenshannon(before, today, base=2))

    result = distance.compute_jensen_shannon(before, today)
    assert result == pytest.approx(0.0 if math.isnan(expected) else expected, abs=1e-7)
    assert 0 <= result <= 1


@given(before=st.lists(st.integers(0, 9), min_size=1), today=st.lists(st.integers(-1, 10)))
def test_kolmogorov_smirnov_agrees_with_scipy_where_each_number_has_a_bin(before, today) -> None:
    assume(today)
    result = compare(*make_columns(before * 5, today)).numbers

    expected = compute_exact_statistic(before, today)
    assert result.kolmogorov_smirnov == pytest.approx(expected, abs=1e-12)


@given(before=NUMBERS, today=NUMBERS)
def test_the_true_statistic_is_within_the_stated_resolution(before, today) -> None:
    frames = make_columns(before, today)
    reference = profile_rows(frames[0].lazy(), ["x"])
    measured = measure_rows(frames[1].lazy(), reference)
    result = compare_profiles(reference, measured, LIMITS)[0].numbers.kolmogorov_smirnov
    shares = [
        max(profile.columns[0].numbers.counts) / len(rows)
        for profile, rows in ((reference, before), (measured, today))
    ]

    true = compute_exact_statistic(before, today)
    assert result - 1e-12 <= true <= result + max(shares) + 1e-12


def test_the_p_value_is_that_of_scipy_for_many_rows() -> None:
    draw = np.random.default_rng(0)
    before, today = draw.normal(size=40_000), draw.normal(0.02, 1, 30_000)

    result = compare(*make_columns(before, today)).numbers

    expected = ks_2samp(before, today, method="asymp").pvalue
    assert result.p_value == pytest.approx(expected, rel=0.5)


def test_a_single_bin_has_no_distance() -> None:
    assert distance.compute_chi_square_critical(0, 0.01) == 0.0
    assert distance.compute_chi_square_critical(1, 0.05) == pytest.approx(1.959964**2, rel=1e-6)


@given(pairs=BINS)
def test_merging_bins_loses_no_row(pairs) -> None:
    before, today = split_pairs(pairs)

    for merge in (distance.merge_bins, distance.merge_rare):
        merged = merge(before, today)
        assert [sum(side) for side in merged] == [sum(before), sum(today)]
    assert len(distance.merge_bins(before, today)[0]) <= distance.PSI_GROUPS + 2


def make_varied_table(rows: int, seed: int) -> pl.DataFrame:
    """A column of every kind, from one distribution."""
    draw = np.random.default_rng(seed)
    words = np.array([f"word{index}" for index in range(400)])
    gaps = draw.random(rows) < 0.1
    return pl.DataFrame(
        {
            "normal": draw.normal(size=rows),
            "skewed": draw.lognormal(sigma=2, size=rows),
            "zeros": np.where(draw.random(rows) < 0.7, 0.0, draw.normal(size=rows)),
            "few": draw.integers(0, 7, rows),
            "gaps": pl.Series(np.where(gaps, np.nan, draw.normal(size=rows))),
            "class": draw.choice(["a", "b", "c"], rows, p=[0.9, 0.09, 0.01]),
            "many": [f"city {city}" for city in draw.zipf(1.5, rows) % 5000],
            "text": [
                " ".join(words[draw.zipf(1.3, 8) % 400]) + f" {draw.integers(10**9)}"
                for _ in range(rows)
            ],
            "id": [f"{number:012x}" for number in draw.integers(0, 2**44, rows)],
            "at": [
                datetime(2024, 1, 1) + timedelta(minutes=int(m))  # noqa: DTZ001 - naive
                for m in draw.integers(0, 10**6, rows)
            ],
            "wave": draw.normal(size=(rows, 1)) + draw.normal(0, 0.1, (rows, 5)),
            "image": [bytes(size) for size in draw.integers(10, 99, rows)],
        }
    )


@pytest.mark.parametrize(("rows", "today"), [(2000, 1000), (2000, 40), (60, 2000), (30, 3), (5, 1)])
def test_random_variation_is_not_reported_as_drift(rows, today) -> None:
    for seed in range(6):
        before = make_varied_table(rows, seed=2 * seed)
        reference = profile_rows(before.lazy(), before.columns)
        measured = measure_rows(make_varied_table(today, seed=2 * seed + 1).lazy(), reference)

        drifted = [
            result
            for result in compare_profiles(reference, measured, LIMITS)
            if result.severity != "none"
        ]
        assert drifted == []


@given(rows=st.integers(0, 200), seed=st.integers(0, 99))
def test_a_table_does_not_drift_from_itself(rows, seed) -> None:
    frame = make_varied_table(rows, seed)
    profile = profile_rows(frame.lazy(), frame.columns)

    for result in compare_profiles(profile, profile, LIMITS):
        assert result.severity == "none", result
        for shift in (result.numbers, result.steps, result.values):
            assert shift is None or (shift.psi, shift.jensen_shannon) == (0, 0)
            assert shift is None or not shift.kolmogorov_smirnov


def test_a_shifted_mean_is_a_large_drift_and_is_described() -> None:
    draw = np.random.default_rng(0)
    result = compare(*make_columns(draw.normal(3, 1, 3000), draw.normal(5, 1, 500)))

    assert result.severity == "large"
    assert result.reason.startswith("mean 2.966 -> 5.049, PSI 3.")


def test_a_slight_shift_is_small() -> None:
    draw = np.random.default_rng(0)
    result = compare(*make_columns(draw.normal(0, 1, 9000), draw.normal(0.4, 1, 9000)))

    assert result.severity == "small"
    assert 0.1 <= result.numbers.psi < 0.25
    assert result.numbers.p_value < 1e-9


def test_a_larger_std_is_drift_at_the_same_mean() -> None:
    draw = np.random.default_rng(0)
    result = compare(*make_columns(draw.normal(0, 1, 2000), draw.normal(0, 4, 2000)))

    assert result.severity == "large"


def test_ten_rows_far_away_are_drift_and_three_are_not() -> None:
    numbers = np.random.default_rng(0).normal(size=2000)

    assert compare(*make_columns(numbers, [50.0] * 10)).severity == "large"
    drifted = compare(*make_columns(numbers, [50.0] * 3))
    assert drifted.severity == "none"
    assert "by chance" in drifted.reason


def test_infinities_are_drift() -> None:
    numbers = np.random.default_rng(0).normal(size=1000)
    broken = np.where(np.arange(1000) < 300, np.inf, numbers)

    assert compare(*make_columns(numbers, broken)).severity == "large"


def test_new_values_between_known_ones_are_drift() -> None:
    result = compare(*make_columns([0, 1] * 500, [0.0, 0.5] * 500))

    assert result.severity == "large"


def test_times_and_durations_are_described_as_such() -> None:
    days = [date(2024, 1, 1) + timedelta(days=step % 90) for step in range(900)]
    later = [day + timedelta(days=365) for day in days]
    waits = [timedelta(seconds=step % 90) for step in range(900)]

    assert (
        "mean 2024-02-14T12:00:00 -> 2025-02-13T12:00:00"
        in compare(*make_columns(days, later)).reason
    )
    assert "mean 44.5 s -> 44.5 s" in compare(*make_columns(waits, waits)).reason


def test_missing_values_are_drift() -> None:
    result = compare(*make_columns([1.0] * 98 + [None] * 2, [1.0] * 60 + [None] * 40))

    assert (result.severity, result.reason) == ("large", "missing 2.0% -> 40.0%")
    assert (result.missing_before, result.missing_today) == (0.02, 0.4)


@pytest.mark.parametrize(("gaps", "verdict"), [(500, "none"), (700, "small"), (2000, "large")])
def test_missing_values_are_compared_by_their_share(gaps, verdict) -> None:
    rows = [1.0] * (8000 - gaps) + [None] * gaps

    assert compare(*make_columns([1.0] * 7800 + [None] * 200, rows)).severity == verdict


def test_a_missing_column_is_a_large_drift() -> None:
    result = compare(*make_columns([1.0, 2.0] * 20, [None] * 40, dtype=pl.Float64))

    assert (result.severity, result.reason) == ("large", "missing 0.0% -> 100.0%")
    assert result.numbers is None


def test_new_and_removed_classes_are_named() -> None:
    before = ["cat"] * 600 + ["dog"] * 300 + ["owl"] * 100
    result = compare(*make_columns(before, ["cat"] * 700 + ["dog"] * 260 + ["emu"] * 40))

    assert result.severity == "large"
    assert (result.value_changes.new_values, result.value_changes.vanished_values) == (
        ("emu",),
        ("owl",),
    )
    assert "4.0% unknown, 0.0% expected, such as 'emu'" in result.reason
    assert "vanished: 'owl', 10.0% before" in result.reason


def test_shifted_classes_are_named() -> None:
    result = compare(*make_columns(["a", "b"] * 500, ["a"] * 900 + ["b"] * 100))

    assert result.severity == "large"
    assert result.reason.startswith("'a' 50.0% -> 90.0%, PSI 0.8")


def test_values_beyond_the_stored_list_are_not_reported_as_new() -> None:
    before = pl.DataFrame({"x": [f"{value}" for value in range(400)] * 30})
    result = compare(before, before)

    assert result.kind == "category"
    assert (result.severity, result.value_changes.new_values) == ("none", ())
    assert result.value_changes.unlisted_share == 0.5


def test_another_language_is_drift_of_a_text() -> None:
    draw = np.random.default_rng(0)
    halves = [[f"{prefix}{index}" for index in range(300)] for prefix in ("en", "de")]
    frames = make_columns(
        *([" ".join(draw.choice(words, 9)) for _ in range(400)] for words in halves)
    )

    result = compare(*frames)

    assert (result.kind, result.severity) == ("text", "large")
    assert "distance of the word frequencies 0.82: 'all others' 0.0% -> 100.0%" in result.reason
    assert "100.0% unknown, 0.0% expected, such as 'de" in result.reason


def test_longer_texts_are_drift() -> None:
    words = [f"w{step % 40}" for step in range(9000)]
    short = [" ".join(words[start : start + 3]) + f" {start}" for start in range(200)]
    long = [" ".join(words[start : start + 30]) + f" {start}" for start in range(200)]

    assert "mean length in characters" in compare(*make_columns(short, long)).reason


def test_steps_of_a_list_drift_at_the_same_length() -> None:
    draw = np.random.default_rng(0)
    waves = [draw.normal(mean, 1, (300, 8)).tolist() for mean in (0, 2)]
    result = compare(*make_columns(*waves))

    assert result.severity == "large"
    assert result.numbers.psi == 0
    assert "mean of the elements" in result.reason


@pytest.mark.parametrize(
    ("before", "today", "verdict", "reason"),
    [
        ([1.0], [], "none", "there are no rows today to compare"),
        ([], [1.0], "none", "the reference has no rows to compare with"),
        ([], [], "none", "the reference has no rows to compare with"),
    ],
)
def test_an_empty_table_is_described(before, today, verdict, reason) -> None:
    result = compare(*make_columns(before, today, dtype=pl.Float64))

    assert (result.severity, result.reason) == (verdict, reason)


def test_new_values_in_a_column_that_was_empty_are_described() -> None:
    result = compare(*make_columns([None] * 40, [1.0] * 40, dtype=pl.Float64))

    assert (result.severity, result.reason) == ("large", "missing 100.0% -> 0.0%")


def test_columns_that_cannot_be_compared_are_a_large_drift() -> None:
    (before,) = make_columns([1.0, 2.0])

    assert compare(before, pl.DataFrame({"y": [1]})).reason == "the column is absent today"
    result = compare(before, before.cast(pl.String))
    assert (result.severity, result.reason) == (
        "large",
        "the type of the column is String, was Float64",
    )


def test_counts_in_other_bins_are_rejected() -> None:
    first, second = (profile_rows(frame.lazy(), ["x"]) for frame in make_columns([1, 2], [3, 4]))

    with pytest.raises(ProfileError, match="'x' was not measured against this reference"):
        compare_profiles(first, second, LIMITS)


def test_a_column_that_was_not_measured_is_reported() -> None:
    reference = profile_rows(pl.DataFrame({"x": [1]}).lazy(), ["x"])
    (result,) = compare_profiles(reference, Profile(columns=()), LIMITS)

    assert (result.severity, result.reason) == ("large", "the column was not measured today")


@pytest.mark.parametrize(
    "settings",
    [
        {"psi_small": 0.3},
        {"psi_small": 0.0},
        {"psi_large": math.nan},
        {"missing_share_large": 1.5},
        {"unlisted_share_small": -0.1},
        {"vocabulary_distance_large": 2.0},
        {"significance_level": 0.0},
        {"significance_level": 0.5},
    ],
)
def test_limits_out_of_range_are_rejected(settings) -> None:
    (name,) = settings

    with pytest.raises(ValueError, match=name):
        DriftConfig(**settings)


def test_limits_are_documented_and_unknown_ones_rejected() -> None:
    adapter = TypeAdapter(DriftConfig)
    described = adapter.json_schema()["properties"]

    assert all("description" in described[field.name] for field in fields(DriftConfig))
    with pytest.raises(ValidationError, match="psi_huge"):
        adapter.validate_python({"psi_huge": 1.0})
