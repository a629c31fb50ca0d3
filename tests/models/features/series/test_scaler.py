"""Scaling: what NumPy finds in any cut, in any unit, and nothing that is no number."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.errors import UnlearnableError
from models.features.series.channels import cleaned
from models.features.series.config import SeriesInput
from models.features.series.sample import Sample, priorities_of
from models.features.series.scaler import LEAST_STEPS, Chunk, Scaler, fit_scaler
from models.features.series.scaling import FARTHEST, fill_gaps, scaled

NAMES = ("a", "b", "c")

SCALES = ["standard", "robust", "minmax", "arcsinh", "none"]


def reading(scale: str = "standard", **more: object) -> SeriesInput:
    return SeriesInput(column=NAMES, scaler=scale, **more)


def chunks(values: np.ndarray, places: list[int], owners: np.ndarray | None = None) -> list[Chunk]:
    """Cut steps [N, C] into chunks; owners change where a series ends."""
    parts = []
    edges = [0, *sorted(places), len(values)]
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
    """Give centre and spread of [N, C] with gaps."""
    if scale == "none":
        return np.zeros(3), np.ones(3)
    if scale == "minmax":
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        return low, np.where(high > low, high - low, 1.0)
    deviation = np.nanstd(values, axis=0)
    if scale == "standard":
        centre, spread = np.nanmean(values, axis=0), deviation
    else:
        lower, centre, upper = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
        spread = np.where(upper > lower, (upper - lower) / 1.349, deviation)
    return centre, np.where(spread > 1e-12 * np.abs(centre), spread, 1.0)


@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from(SCALES),
    st.sampled_from([0.0, 1e6, -1e9]),
    st.floats(0, 0.6),
    st.integers(0, 99),
)
def test_any_cut_of_the_steps_gives_what_numpy_finds_in_what_is_there(
    places: list[int], scale: str, offset: float, gaps: float, seed: int
) -> None:
    values = with_gaps(noise(40, offset=offset, seed=seed), gaps, seed + 1)

    scaler = fit_scaler(chunks(values, places), reading(scale))

    centre, spread = scale_by_numpy(values, scale)
    np.testing.assert_allclose(scaler.centre_EC[0], centre, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.spread_EC[0], spread, rtol=1e-6)
    assert scaler.gaps == tuple(np.flatnonzero(np.isnan(values).any(axis=0)))


@given(
    st.lists(st.integers(0, 60), max_size=6),
    st.sampled_from(SCALES),
    st.sampled_from([0.0, -1e9]),
    st.integers(0, 99),
)
def test_each_entity_is_scaled_by_its_own_steps_and_one_with_few_by_those_of_all(
    places: list[int], scale: str, offset: float, seed: int
) -> None:
    values = with_gaps(noise(60, offset=offset, seed=seed), 0.1, seed + 1)
    owners = np.sort(
        np.random.default_rng(seed).choice(["a", "b", "c", "d"], 60, p=[0.4, 0.3, 0.2, 0.1])
    )

    scaler = fit_scaler(chunks(values, places, owners), reading(scale, scale_per="entity"))

    every, own = scale_by_numpy(values, scale), np.unique(owners)
    assert scaler.entities == tuple(own)
    for row, name in enumerate(["all", *own]):
        part = values if name == "all" else values[owners == name]
        many = (~np.isnan(part)).sum(axis=0) >= (0 if name == "all" else LEAST_STEPS)
        found = scale_by_numpy(part, scale)
        for table, theirs, all_of_them in zip(
            (scaler.centre_EC, scaler.spread_EC), found, every, strict=True
        ):
            expected = np.where(many, theirs, all_of_them)
            np.testing.assert_allclose(table[row], expected, rtol=1e-6, atol=1e-9)


def test_many_entities_in_many_chunks_are_told_apart() -> None:
    owners = np.repeat(np.array([f"e{n}" for n in range(5000)]), 10)
    levels = np.arange(5000.0)
    values = np.repeat(levels, 10)[:, None] + np.tile(np.arange(10.0), 5000)[:, None] + np.zeros(3)

    cut = chunks(values, [3, 777, 12_345, 12_346, 40_000], owners)
    scaler = fit_scaler(cut, reading(scale_per="entity"))

    order = np.argsort([f"e{n}" for n in range(5000)])
    np.testing.assert_allclose(scaler.centre_EC[1:, 0], levels[order] + 4.5, rtol=1e-12)
    np.testing.assert_allclose(scaler.spread_EC[1:, 0], np.std(np.arange(10.0)), rtol=1e-9)


def test_a_series_without_a_name_counts_for_all_and_has_no_scale_of_its_own() -> None:
    values = noise(40)
    nameless = chunks(values, [], np.repeat(["a", "b"], 20))[0]
    nameless = nameless._replace(entities_S=pl.Series(["a", None]))

    scaler = fit_scaler([nameless], reading(scale_per="entity"))

    assert scaler.entities == ("a",)
    np.testing.assert_allclose(scaler.centre_EC[0], values.mean(axis=0), rtol=1e-12)
    assert scaler.rows_of(pl.Series(["a", None, "new"])).tolist() == [1, 0, 0]


def test_entities_that_are_numbers_are_known_again_as_fractions() -> None:
    scaler = Scaler(
        centre_EC=np.zeros((3, 1)),
        spread_EC=np.ones((3, 1)),
        typical_EC=np.zeros((3, 1)),
        entities=("1", "22"),
    )

    assert scaler.rows_of(pl.Series([22, 1, 3])).tolist() == [2, 1, 0]
    assert scaler.rows_of(pl.Series([22.0, None, 1.0])).tolist() == [2, 0, 1]


@pytest.mark.parametrize("offset", [0.0, 1e7, -1e9])
def test_a_channel_that_begins_with_gaps_keeps_its_digits(offset: float) -> None:
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
        return scaled(part[:, 1], scaler.centre_EC[0, 1], scaler.spread_EC[0, 1], scale)

    np.testing.assert_allclose(after(values * 2.0**exponent), after(values), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", ["standard", "robust", "minmax", "arcsinh"])
@pytest.mark.parametrize("level", [0.0, 0.1, -7.0, 1e9, 1e-12])
def test_a_channel_that_never_changes_becomes_zero(scale: str, level: float) -> None:
    values = np.full((37, 3), level)

    scaler = fit_scaler(chunks(values, [3, 11]), reading(scale))

    assert scaler.spread_EC.tolist() == [[1.0, 1.0, 1.0]]
    after = scaled(values[:, 0], scaler.centre_EC[0, 0], scaler.spread_EC[0, 0], scale)
    np.testing.assert_allclose(after, np.zeros(37), atol=1e-6)


def test_an_entity_that_never_changes_is_centred_and_takes_the_spread_of_all() -> None:
    values = np.concatenate([np.full((20, 3), 5.0), noise(20)])

    scaler = fit_scaler(
        chunks(values, [], np.repeat(["still", "wild"], 20)), reading(scale_per="entity")
    )

    np.testing.assert_allclose(scaler.centre_EC[1], [5.0] * 3)
    np.testing.assert_allclose(scaler.spread_EC[1], scaler.spread_EC[0])


def test_a_channel_that_is_mostly_one_value_has_a_spread_all_the_same() -> None:
    values = np.zeros((100, 3))
    values[:10] = 7.0

    scaler = fit_scaler(chunks(values, []), reading("robust"))

    np.testing.assert_allclose(scaler.spread_EC[0], values.std(axis=0))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.5e38, -1e300, 3.4e38])
def test_no_value_however_absurd_becomes_something_that_is_no_number(
    scale: str, value: float
) -> None:
    values = cleaned(np.array([[value]]))[0]

    filled = fill_gaps(values, np.zeros(1, np.int64), 0, np.zeros(1))
    after = scaled(filled, np.array([0.5]), np.array([0.01]), scale).astype(np.float32)

    assert np.isfinite(after).all()
    assert scale == "none" or (np.abs(after) <= FARTHEST).all()


def test_numbers_that_are_not_scaled_are_not_cut_off_either() -> None:
    assert scaled(np.array([3e9]), np.zeros(1), np.ones(1), "none").tolist() == [3e9]


@pytest.mark.parametrize(("mask", "gaps"), [("auto", (1,)), ("always", (0, 1, 2)), ("never", ())])
def test_the_job_says_which_channels_flag_their_gaps(mask: str, gaps: tuple[int, ...]) -> None:
    values = noise(20)
    values[3, 1] = np.nan

    assert fit_scaler(chunks(values, [2]), reading(missing_indicator=mask)).gaps == gaps


@given(st.lists(st.integers(0, 3000), max_size=5), st.integers(0, 9), st.booleans())
def test_a_sample_is_the_same_however_the_stream_is_cut(
    places: list[int], seed: int, several: bool
) -> None:
    chance = np.random.default_rng(seed)
    values, names = chance.normal(size=(2, 3000)), chance.choice(["x", "y", "z"], 3000)

    def quartiles(edges: list[int]) -> dict[str, np.ndarray]:
        sample = Sample(2, most_numbers=600)
        for first, stop in zip([0, *edges], [*edges, 3000], strict=True):
            named = pl.Series(names[first:stop], dtype=pl.String) if several else None
            sample.add(values[:, first:stop], named)
            sample.settle()
        return sample.quartiles()

    whole, cut = quartiles([]), quartiles(sorted(places))

    for name, table in whole.items():
        np.testing.assert_array_equal(cut[name], table)


def test_the_quartiles_of_a_long_stream_are_close_and_follow_no_season() -> None:
    places = np.arange(400_000)
    season = np.sin(places * (2 * np.pi / 16)) + places * 1e-9
    sample = Sample(1, most_numbers=50_000)
    for part in np.array_split(season, 37):
        sample.add(part[None], None)

    found = sample.quartiles()

    for name, share in (("lower", 0.25), ("median", 0.5), ("upper", 0.75)):
        below = (season < found[name][0, 0]).mean()
        # Sixteen values of equal weight: the share below a quartile jumps by a sixteenth.
        assert abs(below - share) < 1 / 16 + 4 * 0.5 / np.sqrt(50_000)
    assert len(sample.settle()) == 50_000


def test_priorities_are_spread_evenly() -> None:
    shares = priorities_of(np.arange(100_000, dtype=np.uint64)).astype(float) / 2.0**64

    assert np.abs(np.histogram(shares, 20, (0, 1))[0] - 5000).max() < 300


def test_a_scaler_survives_being_written_and_read() -> None:
    scaler = fit_scaler(
        chunks(noise(40), [], np.repeat(["a", "b"], 20)), reading(scale_per="entity")
    )
    held = {name: getattr(scaler, name) for name in Scaler.__dataclass_fields__}

    again = TypeAdapter(Scaler).validate_python({**held, "entities": list(scaler.entities)})

    np.testing.assert_array_equal(again.centre_EC, scaler.centre_EC)
    assert (again.entities, again.gaps) == (scaler.entities, scaler.gaps)


def test_no_steps_at_all_are_refused() -> None:
    with pytest.raises(UnlearnableError, match="the training split has no steps"):
        fit_scaler([], reading())


def test_a_channel_of_gaps_is_refused_by_name() -> None:
    values = noise(10)
    values[:, 1] = np.nan

    with pytest.raises(UnlearnableError, match="column 'b' has no finite value in training"):
        fit_scaler(chunks(values, [4]), reading())
