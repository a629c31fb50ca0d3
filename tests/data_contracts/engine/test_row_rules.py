"""Rules about several columns: the Polars engine returns what GX's pandas engine returns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gx_cases import (
    MULTICOLUMN,
    PAIRS,
    Case,
    draw_mostly,
    draw_multicolumn_filter,
    draw_pair_filter,
    find_difference,
    frames,
    one_pool,
)


@st.composite
def pair_cases(draw: st.DrawFn, kind: str) -> Case:
    one = draw(one_pool)
    two = one if draw(st.booleans()) else draw(one_pool)
    frame = draw(frames([one, two]))
    names = [draw(st.sampled_from(frame.columns)) for _ in "AB"]
    kwargs = (
        {"column_A": names[0], "column_B": names[1]} | draw_mostly(draw) | draw_pair_filter(draw)
    )
    if "greater" in kind and draw(st.booleans()):
        kwargs["or_equal"] = draw(st.booleans())
    return Case(frame, kind, kwargs)


@pytest.mark.parametrize("kind", PAIRS)
@given(data=st.data())
@settings(max_examples=40)
def test_a_pair_of_columns_has_the_same_result_as_in_pandas(kind, data) -> None:
    case = data.draw(pair_cases(kind))

    assert find_difference(case) is None


@st.composite
def multicolumn_cases(draw: st.DrawFn, kind: str) -> Case:
    pools = [draw(one_pool) for _ in range(draw(st.integers(2, 3)))]
    if "sum" in kind and draw(st.integers(0, 3)):
        pools = [draw(st.sampled_from(["Int8", "Int64", "UInt32"])) for _ in pools]
    frame = draw(frames(pools))
    kwargs = (
        {"column_list": draw(st.permutations(frame.columns))}
        | draw_mostly(draw)
        | draw_multicolumn_filter(draw)
    )
    if "sum" in kind:
        kwargs["sum_total"] = draw(st.sampled_from([0, 1, 2, 3, 100, 2.5]))
    return Case(frame, kind, kwargs)


@pytest.mark.parametrize("kind", MULTICOLUMN)
@given(data=st.data())
@settings(max_examples=40)
def test_several_columns_have_the_same_result_as_in_pandas(kind, data) -> None:
    case = data.draw(multicolumn_cases(kind))

    assert find_difference(case) is None
