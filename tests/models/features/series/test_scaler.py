"""Scaling: the statistics of NumPy for any chunks and units, and always finite values."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.errors import UnlearnableError
from models.features.series.channels import replace_unusable
from models.features.series.config import SeriesInput
from models.features.series.quantile_sample import QuantileSample, compute_priorities
from models.features.series.scaler import MIN_STEPS, Chunk, Scaler, fit_scaler
from models.features.series.scaling import MAX_SCALED, fill_gaps, scale_values

NAMES = ("a", "b", "c")

SCALES = ["standard", "robust", "minmax", "arcsinh", "none"]


def reading(scale: str = "standard", **more: object) -> SeriesInput:
    return SeriesInput(column=NAMES, scaler=scale, **more)


def chunks(values: np.ndarray, cuts: list[int], owners: np.ndarray | None = None) -> list[Chunk]:
    """Split steps [N, C] into chunks; owners change where a series ends."""
    parts = []
    edges = [0, *sorted(cuts), len(values)]
    for first, stop in pairwise(edges):
        part = np.ascontiguousarray(values[first:stop].T, np.float64)
        if owners is None:
            parts.append(Chunk(part, np.zeros(stop - first, np.int64), None))
            continue
        own = owners[first:stop]
        series = np.cumsum(np.append(True, own[1:] != own[:-1])[: len(own)]) - 1
        begins = np.flatnonzero(np.diff(series, prepend=-1))
        parts.append(Chunk(part, series, pl.Series(own[begins], dtype=pl.String)))
    return parts


def noise(rows: int, *, offset: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 3)) * [1.0, 5.0, 0.1] + offset


def with_gaps(values: np.ndarray, share: float, seed: int) -> np.ndarray:
    missing = np.random.default_rng(seed).random(values.shape) < share
    missing[0] = False
    return np.where(missing, np.nan, values)


def scale_by_numpy(values: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Return center and scale of [N, C] with missing values."""
    if scale == "none":
        return np.zeros(3), np.ones(3)
    if scale == "minmax":
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        return low, np.where(high > low, high - low, 1.0)
    std_of_values = np.nanstd(values, axis=0)
    if scale == "standard":
        center, std = np.nanmean(values, axis=0), std_of_values
    else:
        lower, center, upper = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
        std = np.where(upper > lower, (upper - lower) / 1.349, std_of_values)
    return center, np.where(std > 1e-12 * np.abs(center), std, 1.0)


@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from(SCALES),
    st.sampled_from([0.0, 1e6, -1e9]),
    st.floats(0, 0.6),
    st.integers(0, 99),
)
def test_any_chunking_of_the_steps_gives_the_statistics_of_numpy(
    cuts: list[int], scale: str, offset: float, gaps: float, seed: int
) -> None:
    values = with_gaps(noise(40, offset=offset, seed=seed), gaps, seed + 1)

    scaler = fit_scaler(chunks(values, cuts), reading(scale))

    center, std = scale_by_numpy(values, scale)
    np.testing.assert_allclose(scaler.centre_EC[0], center, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.spread_EC[0], std, rtol=1e-6)
    assert scaler.gaps == tuple(np.flatnonzero(np.isnan(values).any(axis=0)))


@given(
    st.lists(st.integers(0, 60), max_size=6),
    st.sampled_from(SCALES),
    st.sampled_from([0.0, -1e9]),
    st.integers(0, 99),
)
def test_each_entity_has_its_own_scale_and_small_ones_the_global_scale(
    cuts: list[int], scale: str, offset: float, seed: int
) -> None:
    values = with_gaps(noise(60, offset=offset, seed=seed), 0.1, seed + 1)
    owners = np.sort(
        np.random.default_rng(seed).choice(["a", "b", "c", "d"], 60, p=[0.4, 0.3, 0.2, 0.1])
    )

    scaler = fit_scaler(chunks(values, cuts, owners), reading(scale, scale_per="entity"))

    every, own = scale_by_numpy(values, scale), np.unique(owners)
    assert scaler.entities == tuple(own)
    for row, name in enumerate(["all", *own]):
        part = values if name == "all" else values[owners == name]
        many = (~np.isnan(part)).sum(axis=0) >= (0 if name == "all" else MIN_STEPS)
        result = scale_by_numpy(part, scale)
        for table, expected_table, whole_table in zip(
            (scaler.centre_EC, scaler.spread_EC), result, every, strict=True
        ):
            expected = np.where(many, expected_table, whole_table)
            np.testing.assert_allclose(table[row], expected, rtol=1e-6, atol=1e-9)


def test_many_entities_in_many_chunks_have_separate_scales() -> None:
    owners = np.repeat(np.array([f"e{n}" for n in range(5000)]), 10)
    levels = np.arange(5000.0)
    values = np.repeat(levels, 10)[:, None] + np.tile(np.arange(10.0), 5000)[:, None] + np.zeros(3)

    cut = chunks(values, [3, 777, 12_345, 12_346, 40_000], owners)
    scaler = fit_scaler(cut, reading(scale_per="entity"))

    order = np.argsort([f"e{n}" for n in range(5000)])
    np.testing.assert_allclose(scaler.centre_EC[1:, 0], levels[order] + 4.5, rtol=1e-12)
    np.testing.assert_allclose(scaler.spread_EC[1:, 0], np.std(np.arange(10.0)), rtol=1e-9)


def test_a_series_without_a_name_has_the_global_scale() -> None:
    values = noise(40)
    unnamed = chunks(values, [], np.repeat(["a", "b"], 20))[0]
    unnamed = unnamed._replace(entities_S=pl.Series(["a", None]))

    scaler = fit_scaler([unnamed], reading(scale_per="entity"))

    assert scaler.entities == ("a",)
    np.testing.assert_allclose(scaler.centre_EC[0], values.mean(axis=0), rtol=1e-12)
    assert scaler.find_rows(pl.Series(["a", None, "new"])).tolist() == [1, 0, 0]


def test_numeric_entities_are_recognized_as_floats() -> None:
    scaler = Scaler(
        centre_EC=np.zeros((3, 1)),
        spread_EC=np.ones((3, 1)),
        typical_EC=np.zeros((3, 1)),
        entities=("1", "22"),
    )

    assert scaler.find_rows(pl.Series([22, 1, 3])).tolist() == [2, 1, 0]
    assert scaler.find_rows(pl.Series([22.0, None, 1.0])).tolist() == [2, 0, 1]


@pytest.mark.parametrize("offset", [0.0, 1e7, -1e9])
def test_a_channel_that_starts_with_missing_values_is_precise(offset: float) -> None:
    late = noise(500, offset=offset)
    values = np.concatenate([np.full((20, 3), np.nan), late])

    scaler = fit_scaler(chunks(values, [20]), reading())

    np.testing.assert_allclose(scaler.centre_EC[0], late.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.spread_EC[0], late.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("exponent", [-90, -60, -40, 0, 40, 90])
@pytest.mark.parametrize("scale", ["standard", "robust", "minmax", "arcsinh"])
def test_the_unit_of_a_channel_changes_nothing(scale: str, exponent: int) -> None:
    values = noise(50)

    def after(part: np.ndarray) -> np.ndarray:
        scaler = fit_scaler(chunks(part, []), reading(scale))
        return scale_values(part[:, 1], scaler.centre_EC[0, 1], scaler.spread_EC[0, 1], scale)

    np.testing.assert_allclose(after(values * 2.0**exponent), after(values), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", ["standard", "robust", "minmax", "arcsinh"])
@pytest.mark.parametrize("level", [0.0, 0.1, -7.0, 1e9, 1e-12])
def test_a_channel_that_never_changes_becomes_zero(scale: str, level: float) -> None:
    values = np.full((37, 3), level)

    scaler = fit_scaler(chunks(values, [3, 11]), reading(scale))

    assert scaler.spread_EC.tolist() == [[1.0, 1.0, 1.0]]
    after = scale_values(values[:, 0], scaler.centre_EC[0, 0], scaler.spread_EC[0, 0], scale)
    np.testing.assert_allclose(after, np.zeros(37), atol=1e-6)


def test_a_constant_entity_is_centered_and_gets_the_global_std() -> None:
    values = np.concatenate([np.full((20, 3), 5.0), noise(20)])

    scaler = fit_scaler(
        chunks(values, [], np.repeat(["still", "wild"], 20)), reading(scale_per="entity")
    )

    np.testing.assert_allclose(scaler.centre_EC[1], [5.0] * 3)
    np.testing.assert_allclose(scaler.spread_EC[1], scaler.spread_EC[0])


def test_a_channel_that_is_mostly_one_value_has_a_scale() -> None:
    values = np.zeros((100, 3))
    values[:10] = 7.0

    scaler = fit_scaler(chunks(values, []), reading("robust"))

    np.testing.assert_allclose(scaler.spread_EC[0], values.std(axis=0))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.5e38, -1e300, 3.4e38])
def test_no_extreme_value_becomes_nan_or_infinite(scale: str, value: float) -> None:
    values = replace_unusable(np.array([[value]]))[0]

    filled = fill_gaps(values, np.zeros(1, np.int64), 0, np.zeros(1))
    after = scale_values(filled, np.array([0.5]), np.array([0.01]), scale).astype(np.float32)

    assert np.isfinite(after).all()
    assert scale == "none" or (np.abs(after) <= MAX_SCALED).all()


def test_numbers_that_are_not_scaled_are_not_clipped() -> None:
    assert scale_values(np.array([3e9]), np.zeros(1), np.ones(1), "none").tolist() == [3e9]


@pytest.mark.parametrize(("mask", "gaps"), [("auto", (1,)), ("always", (0, 1, 2)), ("never", ())])
def test_missing_indicators_are_added_to_the_configured_channels(
    mask: str, gaps: tuple[int, ...]
) -> None:
    values = noise(20)
    values[3, 1] = np.nan

    assert fit_scaler(chunks(values, [2]), reading(missing_indicator=mask)).gaps == gaps


@given(st.lists(st.integers(0, 3000), max_size=5), st.integers(0, 9), st.booleans())
def test_a_sample_does_not_depend_on_the_chunks_of_the_stream(
    cuts: list[int], seed: int, several: bool
) -> None:
    generator = np.random.default_rng(seed)
    values, names = generator.normal(size=(2, 3000)), generator.choice(["x", "y", "z"], 3000)

    def quartiles(edges: list[int]) -> dict[str, np.ndarray]:
        sample = QuantileSample(2, max_numbers=600)
        for first, stop in zip([0, *edges], [*edges, 3000], strict=True):
            owner_names = pl.Series(names[first:stop], dtype=pl.String) if several else None
            sample.add(values[:, first:stop], owner_names)
            sample.trim()
        return sample.compute_quartiles()

    whole, cut = quartiles([]), quartiles(sorted(cuts))

    for name, table in whole.items():
        np.testing.assert_array_equal(cut[name], table)


def test_the_quartiles_of_a_long_stream_are_close_despite_its_season() -> None:
    cuts = np.arange(400_000)
    season = np.sin(cuts * (2 * np.pi / 16)) + cuts * 1e-9
    sample = QuantileSample(1, max_numbers=50_000)
    for part in np.array_split(season, 37):
        sample.add(part[None], None)

    result = sample.compute_quartiles()

    for name, share in (("lower", 0.25), ("median", 0.5), ("upper", 0.75)):
        below = (season < result[name][0, 0]).mean()
        # Sixteen values of equal weight: the share below a quartile jumps by a sixteenth.
        assert abs(below - share) < 1 / 16 + 4 * 0.5 / np.sqrt(50_000)
    assert len(sample.trim()) == 50_000


def test_priorities_are_spread_evenly() -> None:
    shares = compute_priorities(np.arange(100_000, dtype=np.uint64)).astype(float) / 2.0**64

    assert np.abs(np.histogram(shares, 20, (0, 1))[0] - 5000).max() < 300


def test_a_scaler_survives_saving_and_loading() -> None:
    scaler = fit_scaler(
        chunks(noise(40), [], np.repeat(["a", "b"], 20)), reading(scale_per="entity")
    )
    fields = {name: getattr(scaler, name) for name in Scaler.__dataclass_fields__}

    again = TypeAdapter(Scaler).validate_python({**fields, "entities": list(scaler.entities)})

    np.testing.assert_array_equal(again.centre_EC, scaler.centre_EC)
    assert (again.entities, again.gaps) == (scaler.entities, scaler.gaps)


def test_an_empty_training_set_is_rejected() -> None:
    with pytest.raises(UnlearnableError, match="the training split has no steps"):
        fit_scaler([], reading())


def test_a_channel_without_values_is_rejected_by_name() -> None:
    values = noise(10)
    values[:, 1] = np.nan

    with pytest.raises(UnlearnableError, match="column 'b' has no finite value in training"):
        fit_scaler(chunks(values, [4]), reading())


def test_logarithms_scale_the_columns_above_zero_and_no_others() -> None:
    values = np.exp(noise(400))
    values[:, 2] -= 5.0
    config = reading("log")

    scaler = fit_scaler(chunks(values, [100]), config)

    logs = np.log(values[:, :2])
    expected = np.append(logs.mean(axis=0), values[:, 2].mean())
    np.testing.assert_allclose(scaler.centre_EC[0], expected, rtol=1e-9)
    np.testing.assert_allclose(scaler.spread_EC[0, :2], logs.std(axis=0), rtol=1e-9)
    assert [limits is not None for limits in scaler.log_ranges] == [True, True, False]
    np.testing.assert_allclose(scaler.to_units(values.T)[:2], logs.T, rtol=1e-12)


def test_a_column_that_is_known_ahead_keeps_its_values() -> None:
    config = SeriesInput(column="a", known_future=("b", "c"), scaler="log")

    scaler = fit_scaler(chunks(np.exp(noise(50)), []), config)

    assert [limits is not None for limits in scaler.log_ranges] == [True, False, False]


def test_logarithms_are_fitted_per_entity_and_read_back_from_json() -> None:
    owners = np.repeat(["a", "b"], 50)
    values = np.exp(noise(100)) * np.where(owners == "b", 1000.0, 1.0)[:, None]

    scaler = fit_scaler(chunks(values, [], owners), reading("log", scale_per="entity"))

    difference = scaler.centre_EC[2, 0] - scaler.centre_EC[1, 0]
    own = np.log(values[:, 0])
    np.testing.assert_allclose(difference, own[50:].mean() - own[:50].mean(), rtol=1e-9)
    assert len(scaler.log_ranges) == 3
