"""Data Docs show names and values of the data as text, whatever they hold."""

from html.parser import HTMLParser

import polars as pl

from data_contracts.contract import Contract, Expectation
from data_contracts.data_docs import render_data_docs
from data_contracts.suite import check_contract

IMAGE = """<img src=x onerror="alert('1')">&amp;"""
VALUE = "<b>one</b>"
FRAME = pl.DataFrame({IMAGE: [VALUE, "$value_set"], "<u>kW</u>": [1.0, None]})


class Reader(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags |= {tag, *(name for name, _ in attrs)}

    def handle_data(self, data):
        self.text += data


def render(frame: pl.DataFrame, image: str, number: str, name: str) -> Reader:
    in_set = {"column": image, "value_set": [name, "$n"]}
    contract = Contract(
        name=name,
        columns={column: str(dtype) for column, dtype in frame.schema.items()},
        expectations=(
            Expectation(type="expect_column_values_to_be_in_set", kwargs=in_set),
            Expectation(
                type="expect_column_values_to_match_regex", kwargs={"column": image, "regex": name}
            ),
            Expectation(type="expect_column_values_to_not_be_null", kwargs={"column": number}),
            Expectation(type="expect_column_mean_to_be_between", kwargs={"column": number}),
            Expectation(
                type="expect_table_columns_to_match_set", kwargs={"column_set": [image, name]}
            ),
        ),
    )
    results = check_contract(frame.lazy(), contract).gx_results
    return Reader(render_data_docs(results, name=name, run=name))


def test_names_and_values_of_the_data_are_no_html() -> None:
    page = render(FRAME, IMAGE, "<u>kW</u>", "<s>name</s>")
    plain = render(
        FRAME.rename({IMAGE: "a", "<u>kW</u>": "b"}).with_columns(a=pl.lit("x")), "a", "b", "n"
    )

    assert page.tags <= plain.tags
    for text in (IMAGE, VALUE, "<u>kW</u>", "<s>name</s>", "$value_set"):
        assert text in page.text
