"""Ids stand for text: what a tokenizer keeps comes back."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.detokenize import build_detokenizer
from models.features.series import SeriesInput
from models.features.text import TextInput
from models.features.text.featurize import fit, transform
from models.features.tree import TreeInput
from models.features.tree import fit as fit_trees
from models.features.tree import transform as transform_trees

TEXTS = ["Grüß Gott, 你好!", "a b  c", "naïve café", "x"]


def read_back(config: TextInput, texts: list[str]) -> list[str]:
    frame = pl.DataFrame({"text": texts})
    state = fit([frame], config)
    steps = transform(frame, config, state)
    detokenize = build_detokenizer(config, state)
    assert detokenize is not None
    return [
        detokenize(steps.values_NC[start:stop, 0].astype(np.int64))
        for start, stop in zip(steps.starts_R, steps.stops_R, strict=True)
    ]


@pytest.mark.parametrize("tokenizer", ["byte", "character", "bpe"])
def test_a_text_comes_back_from_its_ids(tokenizer: str) -> None:
    config = TextInput(column="text", tokenizer=tokenizer, min_frequency=1, vocab_size=300)

    assert read_back(config, TEXTS) == ["Grüß Gott, 你好!", "a b c", "naïve café", "x"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
def test_byte_pairs_lose_nothing_but_outer_spaces(texts: list[str]) -> None:
    config = TextInput(column="text", vocab_size=400, min_frequency=1, normalize=())
    if not any(text.strip() for text in texts):
        return

    assert read_back(config, texts) == [text.strip() for text in texts]


def test_words_are_joined_by_spaces() -> None:
    config = TextInput(column="text", tokenizer="word", min_frequency=2)

    assert read_back(config, ["one two", "two one", "one rare"]) == [
        "one two",
        "two one",
        "one \N{REPLACEMENT CHARACTER}",
    ]


def test_a_tree_gives_the_words_of_its_leaves() -> None:
    frame = pl.DataFrame({"tree": ["(2 (1 not) (3 (2 very) (3 good)))"] * 2})
    config = TreeInput(column="tree", min_frequency=1)
    state = fit_trees([frame], config)
    steps = transform_trees(frame, config, state)

    detokenize = build_detokenizer(config, state)

    assert detokenize is not None
    ids = steps.values_NC[steps.starts_R[0] : steps.stops_R[0], 0].astype(np.int64)
    assert detokenize(ids) == "not very good"


def test_numbers_are_no_text() -> None:
    assert build_detokenizer(SeriesInput(column="x"), None) is None
