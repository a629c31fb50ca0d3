"""Text as ids: for every tokenizer, the same for any chunks of the rows."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.errors import UnlearnableError
from models.features.text import (
    TextInput,
    TextState,
    build_spec,
    fit,
    normalization,
    token_counts,
    transform,
)
from models.features.text.jagged import Jagged, truncate_rows

TOKENIZERS = ("byte", "character", "word", "bpe")

HARD = [
    "The quick brown fox's 3.5% don't, (really)!",
    "\U0001f469\u200d\U0001f680 emoji \U0001f1e9\U0001f1ea :-) :)",
    "e\u0301 and \u00e9 and n\u0303\u0323",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u6211\u6765\u5230\u5317\u4eac\u6e05\u534e\u5927\u5b66\uff0c\u5c0f\u660e\u3002",
    "tab\tnew\r\nline\u00a0no\u3000wide\x1cseparator",
]

words = st.sampled_from(["a", "the", "Cat", "don't", "x.y", "\u00fc", "\U0001f600", "1st", ":)"])
texts = st.one_of(st.text(max_size=12), st.lists(words, max_size=8).map(" ".join), st.none())
tables = st.lists(texts, max_size=12)
cuts = st.lists(st.integers(0, 12), max_size=3)


def column(rows) -> pl.DataFrame:
    return pl.DataFrame({"text": pl.Series(rows, dtype=pl.String)})


def chosen(tokenizer: str, **settings) -> TextInput:
    return TextInput(column="text", tokenizer=tokenizer, **({"min_frequency": 1} | settings))


def parts(frame: pl.DataFrame, bounds) -> list[pl.DataFrame]:
    edges = [0, *sorted(min(index, len(frame)) for index in bounds), len(frame)]
    return [frame[start:stop] for start, stop in pairwise(edges)]


def ids_of(steps) -> list[list[int]]:
    spans = zip(steps.starts_R, steps.stops_R, strict=True)
    return [steps.values_NC[start:stop, 0].tolist() for start, stop in spans]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(max_examples=25)
@given(tables, cuts)
def test_the_state_does_not_depend_on_the_chunks(tokenizer: str, rows, bounds) -> None:
    frame, config = column([*rows, "some words"]), chosen(tokenizer)

    whole = fit([frame], config)
    chunked = fit(iter(parts(frame, bounds)), config)

    assert dataclasses.asdict(whole) == dataclasses.asdict(chunked)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(max_examples=25)
@given(tables, cuts)
def test_the_ids_do_not_depend_on_the_chunks(tokenizer: str, rows, bounds) -> None:
    frame, config = column(rows), chosen(tokenizer)
    state = fit([column(["a cat", "the Cat don't", *HARD])], config)

    whole = transform(frame, config, state)
    chunked = [transform(part, config, state) for part in parts(frame, bounds)]

    assert ids_of(whole) == [ids for part in chunked for ids in ids_of(part)]
    assert whole.errors_R == [error for part in chunked for error in part.errors_R]
    assert whole.values_NC.dtype == np.int32
    assert whole.values_NC.shape == (sum(map(len, ids_of(whole))), 1)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(max_examples=25)
@given(tables)
def test_unknown_text_has_only_ids_of_the_vocabulary(tokenizer, rows):
    config = chosen(tokenizer)
    state = fit([column(["a cat", "the cat"])], config)

    steps = transform(column(rows), config, state)

    assert all(0 <= id_ < build_spec(config, state).size for ids in ids_of(steps) for id_ in ids)
    for row, ids, error in zip(rows, ids_of(steps), steps.errors_R, strict=True):
        assert (len(ids) == 0) == (row is None) == (error == "the text is missing")


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_fitted_state_survives_json(tokenizer: str) -> None:
    frame, config = column(HARD), chosen(tokenizer)
    state = fit([frame], config)

    text = json.dumps(dataclasses.asdict(state))
    read = TypeAdapter(TextState).validate_python(json.loads(text))

    assert dataclasses.asdict(read) == dataclasses.asdict(state)
    assert ids_of(transform(frame, config, read)) == ids_of(transform(frame, config, state))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("options", [(), ("nfc", "collapse_spaces")])
def test_an_empty_text_is_one_unknown_step_and_a_missing_one_an_error_of_its_row(
    tokenizer, options
):
    config = chosen(tokenizer, normalize=options)
    state = fit([column(["some words"])], config)

    steps = transform(column(["", " \t\u3000 ", None, "words"]), config, state)

    assert ids_of(steps)[:3] == [[0], [0], []]
    assert ids_of(steps)[3] == ids_of(transform(column(["words"]), config, state))[0] != [0]
    assert steps.errors_R == [None, None, "the text is missing", None]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_very_long_text_can_be_read_with_short_ones(tokenizer: str) -> None:
    long, config = "word after word " * 65_536, chosen(tokenizer, max_length=4, truncate="end")
    state = fit([column(["word after", long])], config)

    alone = ids_of(transform(column(["word word after word"]), config, state))
    steps = ids_of(transform(column(["word", long, "after"]), config, state))

    assert steps[1] == alone[0][-4:]
    assert [steps[0], steps[2]] == ids_of(transform(column(["word", "after"]), config, state))


@given(
    st.lists(st.integers(0, 9), max_size=8), st.integers(1, 6),
    st.sampled_from(["start", "end", "both"]),
)  # fmt: skip
def test_a_long_text_is_truncated_at_the_configured_end(lengths, most: int, truncate: str) -> None:
    stops = np.cumsum(np.array(lengths, np.int64))
    flat = np.arange(sum(lengths))

    truncated = truncate_rows(
        Jagged(flat, stops), TextInput(column="text", max_length=most, truncate=truncate)
    )

    head = {"start": most, "end": 0, "both": most - most // 2}[truncate]
    expected = []
    for length, stop in zip(lengths, stops, strict=True):
        row = flat[stop - length : stop].tolist()
        expected.append(row if length <= most else row[:head] + row[length - (most - head) :])
    assert truncated.flat_N.tolist() == [index for row in expected for index in row]
    assert truncated.stops_R.tolist() == np.cumsum([len(row) for row in expected]).tolist()


@given(st.lists(st.text(min_size=1).filter(lambda text: not text.isspace()), max_size=6))
def test_bytes_can_be_decoded(rows: list[str]) -> None:
    config = chosen("byte", normalize=(), max_length=10_000)

    steps = transform(column(rows), config, TextState())

    assert [bytes(index - 1 for index in ids).decode() for ids in ids_of(steps)] == rows
    assert build_spec(config, TextState()).size == 257


@given(st.lists(st.text(min_size=1).filter(lambda text: not text.isspace()), min_size=1))
def test_characters_can_be_decoded(rows: list[str]) -> None:
    config = chosen("character", normalize=(), max_length=10_000)
    state = fit([column(rows)], config)

    steps = transform(column(rows), config, state)

    read = ["".join(state.tokens[index - 1] for index in ids) for ids in ids_of(steps)]
    assert read == rows


def test_ids_are_sorted_by_frequency_and_then_by_code_point() -> None:
    frame = column(["b a a", "c a b", "d c"])

    word = fit([frame], chosen("word", vocab_size=4, min_frequency=2))
    character = fit([frame], chosen("character", min_frequency=2))

    assert word.tokens == ("a", "b", "c")
    assert character.tokens == (" ", "a", "b", "c")


def test_identifiers_in_text_are_counted_in_bounded_memory(monkeypatch) -> None:
    monkeypatch.setattr(token_counts, "MAX_TOKENS", 50)
    monkeypatch.setattr(token_counts, "STRETCH_BYTES", 1000)
    frame = column([f"often id{row} {'twice' * (row % 3 == 0)}" for row in range(3000)])
    sizes = []
    truncate = token_counts.keep_most_frequent
    monkeypatch.setattr(
        token_counts,
        "keep_most_frequent",
        lambda counts, most: sizes.append(len(counts)) or truncate(counts, most),
    )

    state = fit([frame], chosen("word", vocab_size=20))
    chunked = fit(parts(frame, [7, 1234, 2999]), chosen("word", vocab_size=20))

    assert state.tokens == chunked.tokens
    assert state.tokens[:2] == ("often", "twice")
    assert len(sizes) > 20
    assert max(sizes) < 50 + 1000 / 4


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        ("nfc", "e\u0301", "\u00e9"),
        ("nfkc", "\ufb01 \u00b2", "fi 2"),
        ("lowercase", "\u00c4B", "\u00e4b"),
        ("strip_accents", "\u00e9a\u0302 \u00df", "ea \u00df"),
        ("collapse_spaces", "\u00a0a\x1c\t b \n", "a b"),
    ],
)
def test_normalization_changes_only_the_texts_that_need_it(step, before, after) -> None:
    config = TextInput(column="text", normalize=(step,))

    result = normalization.normalize_texts(pl.Series(["plain", before, "", before]), config)

    assert result.to_list() == ["plain", after, "", after]


@given(st.lists(st.text()))
def test_whitespace_is_collapsed_as_python_splits_it(rows: list[str]) -> None:
    config = TextInput(column="text", normalize=("collapse_spaces",))

    result = normalization.normalize_texts(pl.Series(rows, dtype=pl.String), config)

    assert result.to_list() == [" ".join(row.split()) for row in rows]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["a b", "b"])])
def test_categories_are_read_as_text(dtype) -> None:
    frame, config = column(["a b", "b", None]), chosen("character")

    steps = transform(frame.cast(dtype), config, fit([frame.cast(dtype)], config))

    assert ids_of(steps) == ids_of(transform(frame, config, fit([frame], config)))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_column_of_missing_values_is_an_error_in_every_row(tokenizer: str) -> None:
    config = chosen(tokenizer)
    state = fit([column(["a"])], config)

    steps = transform(pl.DataFrame({"text": [None, None]}), config, state)

    assert steps.errors_R == ["the text is missing"] * 2
    assert steps.values_NC.shape == (0, 1)
    assert transform(column([]), config, state).values_NC.shape == (0, 1)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"text": [1]}), "column 'text' holds Int64, expected text"),
        (pl.DataFrame({"other": ["a"]}), "column 'text' is missing; the table has: other"),
    ],
)
def test_a_column_that_is_no_text_is_rejected(tokenizer: str, frame, message: str) -> None:
    with pytest.raises(UnlearnableError, match=message):
        fit([frame], chosen(tokenizer))
    with pytest.raises(UnlearnableError, match=message):
        transform(frame, chosen(tokenizer), TextState())


@pytest.mark.parametrize("tokenizer", ["character", "word", "bpe"])
def test_training_rows_without_text_are_rejected(tokenizer: str) -> None:
    with pytest.raises(UnlearnableError, match=f"column 'text' has no {tokenizer} that occurs"):
        fit([column([None, "", " "])], chosen(tokenizer))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 256}, r"vocab_size: 256 .* at least 257"),
        ({"vocab_size": 1, "tokenizer": "word"}, r"vocab_size: 1 .* at least 2"),
        ({"min_frequency": 0}, "min_frequency: 0"),
        ({"max_length": 0}, "max_length: 0"),
        ({"pretrained_embeddings": "glove.txt", "tokenizer": "bpe"}, "remove one of the two"),
        ({"freeze_embeddings": False}, "freeze_embeddings: there are no pretrained vectors"),
        ({"embedding_key": "wte.weight"}, "embedding_key: there are no pretrained vectors"),
        ({"pretrained_dim": 0, "pretrained_embeddings": "glove.txt"}, "pretrained_dim: 0"),
    ],
)
def test_settings_that_leave_no_tokens_are_rejected(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextInput(column="text", **options)
