"""YAML files of a person: bounded, and each fault told by its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.yaml_file import YamlFileError, parse_yaml, read_yaml

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "the key a is there twice, in the lines 1 and 3"),
        ("x: {b: 2, b: 2}", "the key b is there twice"),
        ("a: 1\nb: 2024-13-45", "line 2, column 4: month must be in 1..12"),
        ("a: !!int abc", "line 1, column 4: invalid literal"),
        ("a: 1" + "0" * 5000, "line 1, column 4: Exceeds the limit"),
        ("[" * 5000, "more than 32 levels"),
        ("[" * 40 + "]" * 40, "more than 32 levels"),
        ("a: &a [*a]", "more than 32 levels"),
        (LAUGHS, "more than 20,000 values"),
        ("a: [" + "1, " * 30_000 + "]", "more than 20,000 values"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("a: [", "expected the node content"),
        ("a: 1\n--- \nb: 2", "expected a single document"),
        ("\x00", "unacceptable character"),
    ],
)
def test_faults_are_told_with_their_place(text: str, message: str) -> None:
    with pytest.raises(YamlFileError) as error:
        parse_yaml(text, "x.yaml")

    assert str(error.value).startswith("x.yaml is not YAML: ")
    assert message in str(error.value)
    assert len(str(error.value)) < 400


def test_anchors_and_merged_sections_are_read() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a"

    assert parse_yaml(text, "") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
    }


def test_a_file_of_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: " + "x" * 1_000_000)

    with pytest.raises(YamlFileError, match="larger than"):
        read_yaml(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00a")

    with pytest.raises(YamlFileError, match="is not YAML"):
        read_yaml(path)


@given(st.text(alphabet="ab:-[]{},&*!<?|>'\"# \n\t0e.~", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_yaml(text, "x.yaml")
    except YamlFileError as error:
        assert len(str(error)) < 400  # noqa: PT017 - either end is right
