"""Words and byte pairs: cached pieces have the same tokens as the libraries on whole texts."""

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

from models.errors import SetupError, UnlearnableError
from models.features.text import TextInput, TextState, build_spec, fit, transform
from models.features.text.words import build_word_tokenizer

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


def tokenize_by_pieces(rows: list[str], language: str) -> list[list[str]]:
    words = build_word_tokenizer(language)
    pieces = words.cut(pl.Series(rows, dtype=pl.String))
    of_each = words.split(pieces.words_U)
    return [
        [word for code in pieces.codes_P[start:stop] for word in of_each[code]]
        for start, stop in zip(pieces.starts_R, pieces.stops_R, strict=True)
    ]


def tokenize_by_spacy(rows: list[str], language: str) -> list[list[str]]:
    tokenizer = spacy.blank(language).tokenizer
    return [[word.text for word in tokenizer(row) if not word.is_space] for row in rows]


@settings(max_examples=30)
@given(st.lists(st.one_of(st.text(), st.text("ab.'-: )(8D"), st.sampled_from(SENTENCES))))
def test_cached_words_are_those_of_spacy_on_whole_texts(rows: list[str]) -> None:
    assert tokenize_by_pieces(rows, "en") == tokenize_by_spacy(rows, "en")


@pytest.mark.parametrize("language", ["en", "de", "es", "ru", "xx"])
def test_tokenizer_rules_across_spaces_are_followed(language: str) -> None:
    draw = random.Random(0)
    rules = sorted(spacy.blank(language).tokenizer.rules)
    rows = ["".join(draw.choices([*EMOTICONS, draw.choice(rules)], k=8)) for _ in range(1500)]
    rows += [" ".join(draw.choices(rules, k=4)) for _ in range(300)]
    rows += ["(: (;\\( /", "( =)!="]

    assert tokenize_by_pieces(rows, language) == tokenize_by_spacy(rows, language)


def test_a_very_long_word_is_one_token_and_is_fast() -> None:
    data, limit = "a.b,c:)" * 150_000, "a.b,c:)" * 1000

    assert tokenize_by_pieces([data, f"x\n:) {data}", limit], "en") == [
        [data], ["x", ":)", data], *tokenize_by_spacy([limit], "en")
    ]  # fmt: skip


@settings(max_examples=50)
@given(st.lists(st.text(st.sampled_from("\u6211\u6765\u5230\u5317\u4eac\uff0c a1.%\n\u3000"))))
def test_chinese_words_are_those_of_jieba_on_whole_texts(rows: list[str]) -> None:
    jieba.setLogLevel("ERROR")
    whole = [[word for word in jieba.cut(row) if word.strip()] for row in rows]

    assert tokenize_by_pieces(rows, "zh") == whole


def test_chinese_is_split_into_words_without_files_or_logs(capfd, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "mkstemp", None)
    build_word_tokenizer.cache_clear()

    words = tokenize_by_pieces(["\u6211\u6765\u5230\u5317\u4eac\u6e05\u534e\u5927\u5b66"], "zh")

    assert words == [["\u6211", "\u6765\u5230", "\u5317\u4eac", "\u6e05\u534e\u5927\u5b66"]]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [(), ("nfc", "collapse_spaces")])
@settings(max_examples=30)
@given(st.lists(st.one_of(st.text(), st.text(" a.b'1\n\u00e9\u3000"), st.sampled_from(SENTENCES))))
def test_cached_byte_pairs_are_those_of_tokenizers_on_whole_texts(options, rows) -> None:
    config = TextInput(column="text", normalize=options, max_length=10_000)
    state = fit([column(SENTENCES)], config)
    tokenizer = Tokenizer.from_str(state.model)

    steps = transform(column(rows), config, state)

    for row, ids in zip(rows, ids_of(steps), strict=True):
        text = row if not options else " ".join(pl.Series([row]).str.normalize("NFC")[0].split())
        expected = [index + 1 for index in tokenizer.encode(text).ids] if text.strip() else [0]
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
    assert build_spec(TextInput(column="text"), state).size == len(state.tokens) + 1 <= 400


def test_no_text_is_unknown_to_byte_pairs() -> None:
    config = TextInput(column="text")
    state = fit([column(SENTENCES)], config)

    steps = transform(column(["\u6211 \U0001f600 \u0645\u0631"]), config, state)

    assert 0 not in ids_of(steps)[0]


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline that knows two words."""
    nlp = spacy.blank("en")
    nlp.vocab.set_vector("girl", np.array([1.0, 2.0, 3.0], np.float32))
    nlp.vocab.set_vector("wooden", np.array([4.0, 5.0, 6.0], np.float32))
    nlp.to_disk(tmp_path / "vectors")
    return tmp_path / "vectors"


def test_embeddings_start_from_the_vectors_of_a_pipeline(pipeline: Path) -> None:
    config = TextInput(
        column="text", tokenizer="word", pretrained_embeddings=str(pipeline), freeze_embeddings=True
    )

    state = fit([column(SENTENCES)], config)

    spec = build_spec(config, state)
    assert spec.frozen
    assert spec.vectors_VD.dtype == np.float16
    assert spec.vectors_VD.shape == (spec.size, 3)
    known = {state.tokens[index - 1] for index in np.flatnonzero(spec.vectors_VD.any(axis=1))}
    assert known == {"girl", "wooden"}
    girl = spec.vectors_VD[1 + state.tokens.index("girl")].astype(np.float64)
    np.testing.assert_allclose(girl / girl[0], [1.0, 2.0, 3.0], rtol=1e-3)


def test_vectors_that_match_no_word_are_rejected(pipeline: Path) -> None:
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
def test_the_error_for_a_missing_extra_names_it_with_a_hint(language, package, monkeypatch) -> None:
    real = builtins.__import__

    def blocked(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *rest)

    build_word_tokenizer.cache_clear()
    monkeypatch.setattr(builtins, "__import__", blocked)
    config = TextInput(column="text", tokenizer="word", language=language)

    with pytest.raises(SetupError, match=r"pip install .*'spacy.*tokenizer: bpe"):
        fit([column(SENTENCES)], config)


@pytest.mark.parametrize("language", ["th", "qq"])
def test_a_language_without_its_tokenizer_is_rejected_with_a_hint(language: str) -> None:
    config = TextInput(column="text", tokenizer="word", language=language)

    with pytest.raises(UnlearnableError, match=f"'{language}' has no tokenizer here.*xx fits any"):
        transform(column(["a"]), config, TextState(tokens=("a",)))
