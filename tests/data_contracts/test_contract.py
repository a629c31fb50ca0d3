"""Contract files: they are read as they were written, and each error names its position."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.contract import (
    Contract,
    ContractFileError,
    Expectation,
    format_contract,
    read_contract,
)
from data_contracts.draft import draft_contract

# PyYAML takes this one for the end of a line; it has a test of its own.
letters = st.characters(exclude_characters="\x85", codec="utf-8")
names = st.text(letters, min_size=1, max_size=8) | st.sampled_from(
    ["no", "1", "null", "~", "a: b", "#", "-"]
)
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(letters, max_size=5)
)
kwargs = st.dictionaries(names, plain | st.lists(plain, max_size=3), min_size=1, max_size=3)
expectations = st.builds(
    Expectation, type=names, kwargs=kwargs, severity=st.sampled_from(["critical", "warning"])
)
contracts = st.builds(
    Contract,
    name=names,
    columns=st.dictionaries(names, st.sampled_from(["Int64", "List(Float64)"]), max_size=3),
    expectations=st.lists(expectations, max_size=3).map(tuple),
)


@given(contract=contracts)
def test_any_contract_survives_its_file(tmp_path_factory, contract: Contract) -> None:
    path = tmp_path_factory.getbasetemp() / "contract.yaml"
    path.write_text(format_contract(contract), encoding="utf-8")

    assert read_contract(path) == contract


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029"])
def test_a_class_with_an_unusual_line_break_survives_its_file(tmp_path: Path, mark: str) -> None:
    rule = Expectation(type="t", kwargs={"value_set": [f"wait{mark}", f"a{mark}b"]})
    contract = Contract(name="c", columns={}, expectations=(rule,))
    path = tmp_path / "c.yaml"
    path.write_text(format_contract(contract), encoding="utf-8")

    assert read_contract(path) == contract


def test_a_drafted_contract_survives_its_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [0.1, 1e-300, 1e300], "label": ["a", "\u00e9", "no"]})
    contract = draft_contract(
        frame.lazy(), name="c", required_columns=("x", "label"), target="label"
    )
    path = tmp_path / "c.yaml"
    path.write_text(format_contract(contract), encoding="utf-8")

    assert read_contract(path) == contract


def test_keys_that_a_file_omits_have_defaults(tmp_path: Path) -> None:
    path = tmp_path / "weather.yaml"
    path.write_text("expectations: [{type: expect_column_to_exist}]", encoding="utf-8")

    contract = read_contract(path)

    assert (contract.name, contract.columns) == ("weather", {})
    assert contract.expectations[0].severity == "critical"
    assert contract.expectations[0].kwargs == {}


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", "expected the keys name, columns and expectations"),
        ("just words", "expected the keys name, columns and expectations"),
        ("1: 2", "unknown keys: 1"),
        ("columns: [a, b]", "columns: expected a name and a type each"),
        ("expectations: 5", "expectations"),
        ("expectations: {type: t}", "expectations"),
        ("expectations: [null]", r"expectations\[0\]: expected type, kwargs and severity"),
        ("expectations: [{type: 5}]", r"expectations\[0\]: expected type, kwargs and severity"),
        ("expectations: [{type: t}, {type: t, color: red}]", r"expectations\[1\].*color"),
        ("expectations: [{type: t, kwargs: [column]}]", r"expectations\[0\].*kwargs"),
        ("expectations: [{type: t, kwargs: column}]", r"expectations\[0\].*kwargs"),
        ("expectations: [{type: t, severity: [warning]}]", r"expectations\[0\]\.severity"),
        ("expectations: [{type: t, severity: high}]", r"expectations\[0\]\.severity: 'high'"),
        ("name: {", "is not YAML"),
        ("\tname: x", "is not YAML"),
    ],
)
def test_each_error_of_a_file_is_reported_with_its_position(
    tmp_path: Path, text: str, position: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ContractFileError, match=rf"c\.yaml.*{position}"):
        read_contract(path)


def test_a_file_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00name")

    with pytest.raises(ContractFileError, match=r"c\.yaml is not YAML"):
        read_contract(path)


def test_a_missing_file_is_rejected_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ContractFileError, match=r"gone\.yaml: No such file"):
        read_contract(tmp_path / "gone.yaml")


def test_no_code_in_a_contract_is_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "c.yaml"
    path.write_text(f"name: !!python/object/apply:os.mkdir [{mark}]", encoding="utf-8")

    with pytest.raises(ContractFileError, match="is not YAML"):
        read_contract(path)

    assert not mark.exists()
