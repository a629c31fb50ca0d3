"""Words and byte pairs: piece by piece, and yet what the libraries say of whole texts."""

import builtins
import json
import random
import tempfile
from pathlib import Path

import jieba
import numpy as np
import polars as pl
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from models.errors import UnlearnableError
from models.features.text import TextInput, TextState, fit, signal, transform
from models.features.text.words import words_of

SENTENCES = [
    "A little girl climbing into a wooden playhouse .",
    "What's the U.S. dollar worth, e.g. in 1995?",
    'He said: "it\'s 8:30 p.m.!" (and left...)',
    "na\u00efve caf\u00e9 \u2014 d\u00e9j\u00e0-vu",
] * 5

EMOTICONS = list(":;-()8=D/\\'.,^_><*3oO0xX \n") + [" "] * 4


def column(rows) -> pl.DataFrame:
    return pl.DataFrame({"text": pl.Series(rows, dtype=pl.String)})


def ids_of(steps) -> list[list[int]]:
    spans = zip(steps.starts_R, steps.stops_R, strict=True)
    return [steps.values_NC[start:stop, 0].tolist() for start, stop in spans]


def by_pieces(rows: list[str], language: str) -> list[list[str]]:
    words = words_of(language)
    pieces = words.cut(pl.Series(rows, dtype=pl.String))
    of_each = words.split(pieces.words_U)
    return [
        [word for code in pieces.codes_P[start:stop] for word in of_each[code]]
        for start, stop in zip(pieces.starts_R, pieces.stops_R, strict=True)
    ]


def by_spacy(rows: list[str], language: str) -> list[list[str]]:
    tokenizer = spacy.blank(language).tokenizer
    return [[word.text for word in tokenizer(row) if not word.is_space] for row in rows]


@settings(max_examples=30)
@given(st.lists(st.one_of(st.text(), st.text("ab.'-: )(8D"), st.sampled_from(SENTENCES))))
def test_words_cut_piece_by_piece_are_those_of_spacy_on_whole_texts(rows: list[str]) -> None:
    assert by_pieces(rows, "en") == by_spacy(rows, "en")


@pytest.mark.parametrize("language", ["en", "de", "es", "ru", "xx"])
def test_rules_that_look_beyond_a_space_are_followed(language: str) -> None:
    draw = random.Random(0)
    rules = sorted(spacy.blank(language).tokenizer.rules)
    rows = ["".join(draw.choices([*EMOTICONS, draw.choice(rules)], k=8)) for _ in range(1500)]
    rows += [" ".join(draw.choices(rules, k=4)) for _ in range(300)]
    rows += ["(: (;\\( /", "( =)!="]

    assert by_pieces(rows, language) == by_spacy(rows, language)


def test_data_among_words_is_one_word_that_takes_no_time() -> None:
    data, limit = "a.b,c:)" * 150_000, "a.b,c:)" * 1000

    assert by_pieces([data, f"x\n:) {data}", limit], "en") == [
        [data], ["x", ":)", data], *by_spacy([limit], "en")
    ]  # fmt: skip


@settings(max_examples=50)
@given(st.lists(st.text(st.sampled_from("\u6211\u6765\u5230\u5317\u4eac\uff0c a1.%\n\u3000"))))
def test_chinese_words_are_those_of_jieba_on_whole_texts(rows: list[str]) -> None:
    jieba.setLogLevel("ERROR")
    whole = [[word for word in jieba.cut(row) if word.strip()] for row in rows]

    assert by_pieces(rows, "zh") == whole


def test_chinese_is_cut_at_words_without_files_or_noise(capfd, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "mkstemp", None)
    words_of.cache_clear()

    words = by_pieces(["\u6211\u6765\u5230\u5317\u4eac\u6e05\u534e\u5927\u5b66"], "zh")

    assert words == [["\u6211", "\u6765\u5230", "\u5317\u4eac", "\u6e05\u534e\u5927\u5b66"]]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [(), ("nfc", "collapse_spaces")])
@settings(max_examples=30)
@given(st.lists(st.one_of(st.text(), st.text(" a.b'1\n\u00e9\u3000"), st.sampled_from(SENTENCES))))
def test_byte_pairs_piece_by_piece_are_those_of_tokenizers_on_whole_texts(options, rows) -> None:
    config = TextInput(column="text", normalize=options, max_length=10_000)
    state = fit([column(SENTENCES)], config)
    tokenizer = Tokenizer.from_str(state.model)

    steps = transform(column(rows), config, state)

    for row, ids in zip(rows, ids_of(steps), strict=True):
        text = row if not options else " ".join(pl.Series([row]).str.normalize("NFC")[0].split())
        expected = [place + 1 for place in tokenizer.encode(text).ids] if text.strip() else [0]
        assert ids == expected


def test_the_merges_are_those_of_training_on_whole_texts() -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=399, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)

    state = fit([column(SENTENCES)], TextInput(column="text", vocab_size=400))

    assert json.loads(state.model)["model"] == json.loads(tokenizer.to_str())["model"]
    assert signal(TextInput(column="text"), state).size == len(state.tokens) + 1 <= 400


def test_no_text_is_unknown_to_byte_pairs() -> None:
    config = TextInput(column="text")
    state = fit([column(SENTENCES)], config)

    steps = transform(column(["\u6211 \U0001f600 \u0645\u0631"]), config, state)

    assert 0 not in ids_of(steps)[0]


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline that knows two words."""
    made = spacy.blank("en")
    made.vocab.set_vector("girl", np.array([1.0, 2.0, 3.0], np.float32))
    made.vocab.set_vector("wooden", np.array([4.0, 5.0, 6.0], np.float32))
    made.to_disk(tmp_path / "vectors")
    return tmp_path / "vectors"


def test_words_begin_from_the_vectors_of_a_pipeline(pipeline: Path) -> None:
    config = TextInput(
        column="text", tokenizer="word", pretrained_embeddings=str(pipeline), freeze_embeddings=True
    )

    state = fit([column(SENTENCES)], config)

    told = signal(config, state)
    assert told.frozen
    assert told.vectors_VD.dtype == np.float32
    assert told.vectors_VD.shape == (told.size, 3)
    known = {state.tokens[place - 1] for place in np.flatnonzero(told.vectors_VD.any(axis=1))}
    assert known == {"girl", "wooden"}
    assert told.vectors_VD[1 + state.tokens.index("girl")].tolist() == [1.0, 2.0, 3.0]


def test_vectors_that_fit_no_word_are_refused(pipeline: Path) -> None:
    config = TextInput(column="text", tokenizer="word", pretrained_embeddings=str(pipeline))

    with pytest.raises(UnlearnableError, match="has no vector for any of the 2 words"):
        fit([column(["other words"] * 2)], config)


def test_a_pipeline_that_does_not_exist_is_named() -> None:
    config = TextInput(column="text", tokenizer="word", pretrained_embeddings="nowhere/to/be/found")

    with pytest.raises(
        UnlearnableError, match=r"'nowhere/to/be/found' is neither .* spacy download"
    ):
        fit([column(SENTENCES)], config)


@pytest.mark.parametrize(("language", "package"), [("en", "spacy"), ("zh", "jieba")])
def test_a_missing_extra_is_named_with_the_mend(language, package, monkeypatch) -> None:
    real = builtins.__import__

    def blocked(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *rest)

    words_of.cache_clear()
    monkeypatch.setattr(builtins, "__import__", blocked)
    config = TextInput(column="text", tokenizer="word", language=language)

    with pytest.raises(UnlearnableError, match=r"pip install 'ostinato\[spacy\]'.*tokenizer: bpe"):
        fit([column(SENTENCES)], config)


@pytest.mark.parametrize("language", ["th", "qq"])
def test_a_language_without_its_tokenizer_is_refused_with_the_mend(language: str) -> None:
    config = TextInput(column="text", tokenizer="word", language=language)

    with pytest.raises(UnlearnableError, match=f"'{language}' has no tokenizer here.*xx fits any"):
        transform(column(["a"]), config, TextState(tokens=("a",)))
