"""Texts with a table of tokens: split by its tokenizer, with its vectors, and back to text."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from models.errors import UnlearnableError
from models.features.detokenize import build_detokenizer
from models.features.text import TextInput, TextState, build_spec, fit, list_packages, transform
from models.features.text.tokens import split_tokens
from tests.support.embedding_tables import write_token_table

TOKENS = ["play", "##ing", "the", "isn", "'", "t", "happy", "#", "tag", "unused", "cafe", "!"]
SPECIAL = 4

ROWS = ["The playing", "happy\U0001f602 \U0001f602", "playing", "It isn't #tag caf\u00e9!"] * 2


def frame(rows: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"text": rows})


def read_ids(text: str, config: TextInput, state: TextState) -> list[int]:
    return transform(frame([text]), config, state).values_NC[:, 0].tolist()


def choose(folder: Path, **options: object) -> TextInput:
    return TextInput(column="text", pretrained_embeddings=str(folder), **options)


def test_tokens_have_the_rows_of_the_table(tmp_path: Path) -> None:
    matrix = write_token_table(tmp_path / "table", TOKENS, padding=4)
    config = choose(tmp_path / "table")
    state = fit([frame(ROWS)], config)
    spec = build_spec(config, state)

    ids = read_ids("the playing unused the play the", config, state)

    # Longer than the tokenizer's own truncation, and without its special tokens.
    names = ["the", "play", "##ing", "unused", "the", "play", "the"]
    wanted = np.stack([matrix[SPECIAL + TOKENS.index(name)] for name in names])
    found = spec.vectors_VD[ids].astype(np.float64)
    scale = np.linalg.norm(found) / np.linalg.norm(wanted)
    np.testing.assert_allclose(found, wanted * scale, rtol=0.01, atol=0.01)
    assert ids[3] >= spec.num_learned > max(ids[:3])
    assert list_packages(config, state) == ("tokenizers",)
    assert split_tokens(["the playing"], config, state) == ["the", "play", "##ing"]


def test_what_the_tokenizer_does_not_know_is_learned_where_it_repeats(tmp_path: Path) -> None:
    write_token_table(tmp_path / "table", TOKENS)
    config = choose(tmp_path / "table")
    state = fit([frame(ROWS)], config)

    happy, laugh, other = read_ids("happy\U0001f602 \U0001f680", config, state)

    assert state.tokens[happy - 1] == "happy"
    assert state.tokens[laugh - 1] == "\U0001f602"
    assert 0 < laugh < state.num_learned
    assert not state.vectors_VD[laugh].any()
    assert other == 0
    assert state.embeddings.missing == ("\U0001f602", "It")


def test_a_text_comes_back_but_for_case_and_accents(tmp_path: Path) -> None:
    write_token_table(tmp_path / "table", TOKENS)
    config = choose(tmp_path / "table")
    state = fit([frame(ROWS)], config)
    detokenize = build_detokenizer(config, state)
    assert detokenize is not None

    text = detokenize(
        np.array(read_ids("The playing isn't #tag caf\u00e9 \U0001f602", config, state))
    )

    assert text == "the playing isn't #tag cafe \U0001f602"


def test_byte_pairs_of_a_model_come_back_whole(tmp_path: Path) -> None:
    config = TextInput(column="text", min_frequency=1, vocab_size=400)
    learned = fit([frame(ROWS)], config)
    folder = tmp_path / "gpt"
    folder.mkdir()
    record = json.loads(learned.model)
    record["decoder"] = {
        "type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(record))
    from safetensors.torch import save_file

    save_file({"wte.weight": torch.randn(len(learned.tokens), 4)}, folder / "model.safetensors")
    config = choose(folder)
    state = fit([frame(ROWS)], config)
    detokenize = build_detokenizer(config, state)
    assert detokenize is not None

    for text in ROWS:
        ids = read_ids(text, config, state)
        assert 0 not in ids
        assert detokenize(np.array(ids)) == text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    size = SPECIAL + len(TOKENS)
    matrix = torch.arange(size * 2, dtype=torch.float32).reshape(size, 2)
    write_token_table(tmp_path / "table", TOKENS, key="position", embeddings=matrix.to(dtype))
    config = choose(tmp_path / "table")

    state = fit([frame(ROWS)], config)

    row = np.float64(state.vectors_VD[1 + state.tokens.index("the")])
    wanted = matrix[SPECIAL + TOKENS.index("the")].numpy()
    assert row[1] / row[0] == pytest.approx(wanted[1] / wanted[0], rel=0.01)


def test_a_quantized_vocabulary_is_mapped_to_its_rows(tmp_path: Path) -> None:
    size = SPECIAL + len(TOKENS)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    mapping, weights = torch.arange(size) % 2, torch.arange(size) + 1.0
    write_token_table(
        tmp_path / "table",
        TOKENS,
        key="position",
        embeddings=rows,
        mapping=mapping,
        weights=weights,
    )
    config = choose(tmp_path / "table")

    state = fit([frame(ROWS)], config)

    for name in ("the", "play"):
        source = SPECIAL + TOKENS.index(name)
        found = np.float64(state.vectors_VD[1 + state.tokens.index(name)])
        assert found.argmax() == source % 2
        ratio = found.max() / state.vectors_VD.astype(np.float64).max()
        assert ratio == pytest.approx((source + 1) / size, rel=0.01)


def test_an_ambiguous_table_is_asked_for_by_its_key(tmp_path: Path) -> None:
    size = SPECIAL + len(TOKENS)
    first = torch.randn(size, 4)
    tensors = {
        "encoder.embed_tokens.weight": first,
        "decoder.embed_tokens.weight": torch.randn(size, 4),
    }
    write_token_table(tmp_path / "table", TOKENS, key="position", **tensors)

    with pytest.raises(UnlearnableError, match=r"embedding_key, one of 'decoder.* \[16, 4\]"):
        fit([frame(ROWS)], choose(tmp_path / "table"))
    with pytest.raises(UnlearnableError, match=r"embedding_key: .* has no matrix 'none'"):
        fit([frame(ROWS)], choose(tmp_path / "table", embedding_key="none"))

    config = choose(tmp_path / "table", embedding_key="encoder.embed_tokens.weight")
    state = fit([frame(ROWS)], config)
    found = np.float64(state.vectors_VD[1 + state.tokens.index("the")])
    wanted = first[SPECIAL + TOKENS.index("the")].double().numpy()
    assert found @ wanted > 0.999 * np.linalg.norm(found) * np.linalg.norm(wanted)


def test_a_table_that_does_not_fit_its_tokenizer_is_refused(tmp_path: Path) -> None:
    write_token_table(tmp_path / "short", TOKENS, key="position", embeddings=torch.ones(3, 4))
    with pytest.raises(UnlearnableError, match=r"has 3 rows, and its tokenizer\.json 16 tokens"):
        fit([frame(ROWS)], choose(tmp_path / "short"))

    write_token_table(
        tmp_path / "nan", TOKENS, key="position", embeddings=torch.full((16, 4), torch.nan)
    )
    with pytest.raises(UnlearnableError, match=r"model.safetensors, 'embeddings', row \d+"):
        fit([frame(ROWS)], choose(tmp_path / "nan"))

    (tmp_path / "nan" / "tokenizer.json").write_text('{"version": 1}')
    with pytest.raises(UnlearnableError, match="not one of the library tokenizers"):
        fit([frame(ROWS)], choose(tmp_path / "nan"))
