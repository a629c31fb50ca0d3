"""Targets: values survive encoding and decoding, and unlearnable targets are refused."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnlearnableError
from models.features.config import TargetConfig
from models.features.target import MAX_CLASSES, UNSEEN_CODE, Target, check_missing_targets
from models.features.target import check_target_type as check_type
from models.features.target import fit_target as fit_pieces

CATEGORY = TargetConfig(column="label", kind="category")
NUMBER = TargetConfig(column="label", kind="number")


def fit_target(column: pl.Series, config: TargetConfig) -> Target:
    return fit_pieces([(column, None)], config)


def check_target(column: pl.Series, config: TargetConfig) -> None:
    check_type(column.dtype, config, column=config.name)
    check_missing_targets(column, np.arange(len(column)), name=config.name)


ALIKE = ["1", "01", "1.0", "true", "True", "null", "", " ", "\u00e9", "e\u0301"]


def several(values: st.SearchStrategy) -> st.SearchStrategy[list]:
    return st.lists(values, min_size=2, max_size=12).filter(lambda result: len(set(result)) > 1)


@given(several(st.text(max_size=3) | st.sampled_from(ALIKE)) | several(st.integers(-5, 2**62)))
def test_every_class_is_restored_from_its_code(targets: list) -> None:
    column = pl.Series("label", targets)

    target = fit_target(column, CATEGORY)
    codes = target.encode(column)

    assert codes.dtype == np.float32
    assert target.decode(codes).to_list() == targets
    assert len(target.classes) == len(set(targets))


@given(several(st.sampled_from(ALIKE)), st.randoms(use_true_random=False))
def test_codes_do_not_depend_on_the_order_of_the_rows(targets: list[str], random) -> None:
    shuffled = random.sample(targets, len(targets))

    assert fit_target(pl.Series("label", targets), CATEGORY) == fit_target(
        pl.Series("label", shuffled), CATEGORY
    )


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["zebra", "ant"])])
def test_categories_are_texts_in_alphabetical_order(dtype: pl.DataType) -> None:
    column = pl.Series("label", ["zebra", "ant", "zebra"], dtype=dtype)

    target = fit_target(column, CATEGORY)

    assert target.classes == ("ant", "zebra")
    assert target.encode(column).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int32, pl.UInt16, pl.Int64])
def test_a_class_has_one_code_in_whole_numbers_of_any_size(dtype: pl.DataType) -> None:
    target = fit_target(pl.Series("label", [3, 7], dtype=pl.Int64), CATEGORY)

    assert target.encode(pl.Series("label", [7, 3, 5], dtype=dtype)).tolist() == [
        1.0,
        0.0,
        UNSEEN_CODE,
    ]


def test_a_missing_target_has_no_code() -> None:
    target = fit_target(pl.Series("label", ["a", "b"]), CATEGORY)

    codes = target.encode(pl.Series("label", [None, "b", "new"]))

    np.testing.assert_array_equal(codes, [np.nan, 1.0, UNSEEN_CODE])


def test_too_many_classes_are_rejected_as_an_identifier() -> None:
    most = pl.Series("label", range(MAX_CLASSES))
    more = pl.Series("label", range(MAX_CLASSES + 1))

    assert len(fit_target(most, CATEGORY).classes) == MAX_CLASSES
    with pytest.raises(
        UnlearnableError, match=r"has more than 10000 classes .* is it an identifier"
    ):
        fit_target(more, CATEGORY)


@given(several(st.floats(-1e6, 1e6).map(lambda x: round(x, 3))))
def test_numbers_are_standardized_and_restored(targets: list[float]) -> None:
    column = pl.Series("label", targets)

    target = fit_target(column, NUMBER)
    scaled = target.encode(column)

    assert scaled.mean(dtype=float) == pytest.approx(0.0, abs=1e-4)
    assert scaled.std(dtype=float) == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(
        target.decode(scaled).to_numpy(), targets, rtol=1e-6, atol=1e-6 * target.std
    )


@pytest.mark.parametrize("level", [0.0, 2.0, 0.1, 1e9 + 0.3])
@pytest.mark.parametrize("count", [1, 3, 7, 1000])
def test_a_constant_number_is_rejected(level: float, count: int) -> None:
    with pytest.raises(UnlearnableError, match="in every training row"):
        fit_target(pl.Series("label", [level] * count), NUMBER)


@pytest.mark.parametrize(
    ("targets", "config"),
    [
        (["a", None, None, "b"], CATEGORY),
        ([True, None, None, False], CATEGORY),
        ([1, None, None, 2], CATEGORY),
        ([1, None, None, 2], NUMBER),
        ([1.0, None, float("nan"), 2.0], NUMBER),
        ([1.0, float("inf"), float("-inf"), 2.0], NUMBER),
    ],
)
def test_rows_without_a_target_are_counted_and_the_first_is_named(
    targets: list, config: TargetConfig
) -> None:
    with pytest.raises(UnlearnableError, match=r"in 2 of 4 rows \(first: row 1\)"):
        check_target(pl.Series("label", targets), config)


@pytest.mark.parametrize(
    ("targets", "config"),
    [
        (pl.Series(["a", "b"]), CATEGORY),
        (pl.Series(["a", "b"], dtype=pl.Categorical), CATEGORY),
        (pl.Series([True, False]), CATEGORY),
        (pl.Series([1, 2], dtype=pl.UInt8), CATEGORY),
        (pl.Series([1, 2]), NUMBER),
        (pl.Series([1.5, 2.5], dtype=pl.Float32), NUMBER),
    ],
)
def test_a_target_of_a_suitable_type_is_accepted(targets: pl.Series, config: TargetConfig) -> None:
    check_target(targets, config)

    fitted = fit_target(targets, config)
    assert isinstance(fitted, Target)
    assert np.isfinite(fitted.encode(targets)).all()
