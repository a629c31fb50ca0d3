"""Times in texts and whole steps are recognised."""

import polars as pl
import pytest

from flows.commands.drafting.times import find_step, find_time, guess_formats


@pytest.mark.parametrize(
    ("texts", "text_format"),
    [
        (["2020-01-31", "2020-02-01"], "%Y-%m-%d"),
        (["1949-01", "1949-02"], "%Y-%m"),
        (["20200131", "20200201"], "%Y%m%d"),
        (["31.01.2020", "1.2.2020"], "%d.%m.%Y"),
        (["1/31/2020", "2/1/2020"], "%m/%d/%Y"),
        (["31/1/2020", "1/2/2020"], "%d/%m/%Y"),
        (["3 Jan 2020", "4 Feb 2020"], "%d %b %Y"),
        (["Jan 2020", "Feb 2020"], "%b %Y"),
        (["2020-Q1", "2020-Q2"], "%Y-Q%q"),
        (["2020-01-31 10:00", "2020-02-01 11:30"], "%Y-%m-%d %H:%M"),
        (["2020-01-31T10:00:00", "2020-02-01T11:30:00"], "%Y-%m-%dT%H:%M:%S"),
        (["2020-01-31T10:00:00Z", "2020-02-01T11:30:00Z"], "%Y-%m-%dT%H:%M:%S%z"),
        (["1/31/2020 1:05 PM", "2/1/2020 2:10 AM"], "%m/%d/%Y %I:%M %p"),
    ],
)
def test_a_usual_format_is_recognised(texts: list[str], text_format: str) -> None:
    assert guess_formats(pl.Series("when", texts)) == (text_format,)


def test_both_orders_of_day_and_month_are_named() -> None:
    assert guess_formats(pl.Series("when", ["1/2/2020", "3/4/2020"])) == ("%d/%m/%Y", "%m/%d/%Y")


@pytest.mark.parametrize("texts", [["12.5", "13.5"], ["17", "18"], ["rain", "sun"], ["", ""]])
def test_other_texts_are_no_times(texts: list[str]) -> None:
    assert guess_formats(pl.Series("when", texts)) == ()


def test_typed_dates_precede_texts() -> None:
    frame = pl.DataFrame({"text": ["2020-01-01"], "day": ["2020-01-02"]}).with_columns(
        pl.col("day").str.to_date()
    )

    found = find_time(frame)

    assert found is not None
    assert found.name == "day"


def test_whole_numbers_out_of_order_are_no_steps() -> None:
    frame = pl.DataFrame({"id": [*range(1, 20), 0]})

    assert find_step(frame, entity=None, names=["id"], keys=[]) is None
