"""Several columns of text are read as one sequence, with a separator that no text contains."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.detokenize import build_detokenizer
from models.features.splitting.minhash import join_texts
from models.features.text import TextInput, build_spec, fit, transform
from models.features.text.tokens import split_tokens

TOKENIZERS = ("byte", "character", "word", "bpe")

FRAME = pl.DataFrame(
    {
        "title": ["red box", None, "red red", None, ""],
        "body": ["a box is red", "box box", None, None, "is a"],
    },
    schema={"title": pl.String, "body": pl.String},
)

cells = st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["red box", " ", "is"]))


def build_input(tokenizer: str, **options) -> TextInput:
    return TextInput(
        column=("title", "body"), tokenizer=tokenizer, **({"min_frequency": 1} | options)
    )


def list_ids(steps) -> list[list[int]]:
    spans = zip(steps.starts_R, steps.stops_R, strict=True)
    return [steps.values_NC[start:stop, 0].tolist() for start, stop in spans]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_columns_stand_in_order_with_one_separator_between_them(tokenizer: str) -> None:
    config = build_input(tokenizer)
    state = fit([FRAME], config)
    separator = build_spec(config, state).size - 1

    steps = transform(FRAME, config, state)

    alone = {
        name: list_ids(transform(FRAME, replace(config, column=name), state))
        for name in config.columns
    }
    expected = [
        [*(title if FRAME["title"][row] else []), separator, *(body if FRAME["body"][row] else [])]
        for row, (title, body) in enumerate(zip(alone["title"], alone["body"], strict=True))
    ]
    expected[3] = []
    assert list_ids(steps) == expected
    assert separator not in {id_ for rows in alone.values() for row in rows for id_ in row}


def test_only_a_row_without_any_text_is_an_error() -> None:
    config = build_input("word")

    steps = transform(FRAME, config, fit([FRAME], config))

    assert steps.errors_R == [None, None, None, "the text is missing", None]
    assert steps.starts_R[3] == steps.stops_R[3]


def test_the_vocabulary_is_that_of_all_columns() -> None:
    config = build_input("word")

    assert set(fit([FRAME], config).tokens) == {"red", "box", "a", "is"}


def test_the_order_of_columns_is_that_of_the_job() -> None:
    config = build_input("word")
    state = fit([FRAME], config)
    swapped = replace(config, column=("body", "title"))

    forward, backward = (list_ids(transform(FRAME, each, state)) for each in (config, swapped))

    separator = build_spec(config, state).size - 1
    cut = forward[0].index(separator)
    assert backward[0] == [*forward[0][cut + 1 :], separator, *forward[0][:cut]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(TOKENIZERS))
def test_a_row_does_not_depend_on_the_others(rows, tokenizer: str) -> None:
    config = build_input(tokenizer, max_length=9)
    state = fit([FRAME], config)
    frame = pl.DataFrame(rows, schema=FRAME.schema, orient="row")

    together = list_ids(transform(frame, config, state))

    assert together == [
        list_ids(transform(frame[row : row + 1], config, state))[0] for row in range(len(frame))
    ]
    assert max(map(len, together)) <= 9


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_tokens_name_the_column_that_the_separator_begins(tokenizer: str) -> None:
    config = build_input(tokenizer)
    state = fit([FRAME], config)

    tokens = split_tokens(("red", None), config, state)

    assert tokens[-1] == "[body]"
    assert "".join(tokens[:-1]).strip() == "red"
    ids = list_ids(transform(FRAME[:1], config, state))[0]
    assert len(split_tokens(FRAME.row(0), config, state)) == len(ids)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_ids_of_several_columns_come_back_as_lines(tokenizer: str) -> None:
    config = build_input(tokenizer)
    state = fit([FRAME], config)
    detokenize = build_detokenizer(config, state)
    assert detokenize is not None

    texts = [
        detokenize(np.array(ids, np.int64)) for ids in list_ids(transform(FRAME, config, state))
    ]

    assert texts[:3] == ["red box\na box is red", "\nbox box", "red red\n"]


def test_pretrained_vectors_have_a_row_for_the_separator() -> None:
    config = build_input("word")
    state = fit([FRAME], config)
    vectors_VD = np.random.default_rng(0).normal(size=(len(state.tokens) + 1, 3))

    spec = build_spec(config, replace(state, vectors_VD=vectors_VD.astype(np.float32)))

    assert spec.vectors_VD is not None
    assert spec.vectors_VD.shape == (spec.size, 3)
    usual = np.sqrt(np.square(vectors_VD).mean())
    np.testing.assert_allclose(spec.vectors_VD[-1], usual, rtol=1e-5)


def test_near_duplicates_are_compared_by_all_columns() -> None:
    joined = join_texts(FRAME, ("title", "body"))

    assert joined.to_list() == ["red box a box is red", "box box", "red red", None, " is a"]


@pytest.mark.parametrize(
    ("columns", "message"), [((), "at least one column"), (("a", "b", "a"), "'a' is named twice")]
)
def test_columns_are_named_once(columns: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextInput(column=columns)
