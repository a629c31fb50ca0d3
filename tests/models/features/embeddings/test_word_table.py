"""Texts and trees with a table of words: which words have vectors, and which."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import UnlearnableError
from models.features import tree
from models.features.text import TextInput, build_spec, fit, transform
from models.features.tree import TreeInput
from tests.support.embedding_tables import draw_vectors, write_text, write_token_table

VECTORS = draw_vectors(["the", "cat", "sat", "rare", "new", "unused"])

ROWS = ["The cat sat zzz", "the cat sat zzz", "a rare cat a"]


def frame(rows: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"text": rows})


def read_ids(rows: list[str], config: TextInput, state) -> list[list[int]]:
    steps = transform(frame(rows), config, state)
    spans = zip(steps.starts_R, steps.stops_R, strict=True)
    return [steps.values_NC[start:stop, 0].tolist() for start, stop in spans]


def are_parallel(a, b) -> bool:
    a, b = np.float64(a), np.float64(b)
    return bool(a @ b > 0.9999 * np.linalg.norm(a) * np.linalg.norm(b))


@pytest.fixture
def config(tmp_path: Path) -> TextInput:
    path = write_text(tmp_path / "glove.txt", VECTORS)
    return TextInput(column="text", pretrained_embeddings=str(path), max_length=20)


def test_words_have_their_vectors_and_rare_and_new_ones_too(config: TextInput) -> None:
    state = fit([frame(ROWS)], config)

    [(the, cat, rare, new, sat, unknown)] = read_ids(
        ["THE cat rare new Sat unheard"], config, state
    )
    spec = build_spec(config, state)

    assert spec.frozen
    learned = {*state.tokens[: spec.num_learned - 1]}
    assert learned == {"cat", "sat", "a", "zzz"}
    for name, id_ in {"the": the, "cat": cat, "rare": rare, "new": new, "sat": sat}.items():
        assert are_parallel(spec.vectors_VD[id_], VECTORS[name]), name
    assert min(the, rare, new) >= spec.num_learned
    assert unknown == 0
    without = [0, *(1 + state.tokens.index(word) for word in ("a", "zzz"))]
    assert not spec.vectors_VD[without].any()


def test_the_summary_says_what_is_covered(config: TextInput) -> None:
    summary = fit([frame(ROWS)], config).embeddings

    assert summary is not None
    # The, the, cat, sat, zzz, a, rare; 8 of their 12 occurrences have a vector.
    assert (summary.tokens, summary.found, summary.dim, summary.kept_dim) == (7, 5, 4, 4)
    assert summary.coverage == pytest.approx(8 / 12, abs=1e-6)
    assert summary.missing == ("a", "zzz")
    assert "none for a, zzz" in str(summary)


def test_the_number_of_further_words_is_bounded(config: TextInput, monkeypatch) -> None:
    monkeypatch.setattr("models.features.text.featurize.MAX_FURTHER_WORDS", 2)

    state = fit([frame(ROWS)], config)

    assert len(state.tokens) == state.num_learned - 1 + 2


def test_vectors_of_many_dimensions_are_projected_without_loss_of_what_varies(
    tmp_path: Path,
) -> None:
    words = [f"w{index}" for index in range(50)]
    generator = np.random.default_rng(3)
    flat = generator.normal(size=(50, 3)) @ generator.normal(size=(3, 20))
    path = write_text(tmp_path / "flat.txt", dict(zip(words, flat, strict=True)))
    rows = [" ".join(words)] * 2
    config = TextInput(
        column="text", pretrained_embeddings=str(path), pretrained_dim=3, max_length=100
    )

    state, again = fit([frame(rows)], config), fit([frame(rows)], config)

    assert state.vectors_VD.shape == (51, 3)
    np.testing.assert_array_equal(state.vectors_VD, again.vectors_VD)
    found = np.stack([state.vectors_VD[1 + state.tokens.index(word)] for word in words])

    def measure_distances(rows_FD):
        rows_FD = np.float64(rows_FD)
        return np.linalg.norm(rows_FD[:, None] - rows_FD[None], axis=2).ravel()

    wanted, kept = measure_distances(flat), measure_distances(found)
    assert np.corrcoef(wanted, kept)[0, 1] > 0.9999
    assert np.sqrt(np.mean(np.square(found, dtype=np.float64))) == pytest.approx(1, rel=0.01)


def test_trees_read_the_same_tables(tmp_path: Path) -> None:
    path = write_text(tmp_path / "glove.txt", VECTORS)
    config = TreeInput(column="tree", pretrained_embeddings=str(path))
    rows = pl.DataFrame({"tree": ["(1 (2 The) (3 (2 cat) (2 sat)))", "(1 (2 cat) (2 zzz))"] * 2})

    state = tree.fit([rows], config)
    steps = tree.transform(pl.DataFrame({"tree": ["(1 (2 CAT) (2 new))"]}), config, state)

    spec = tree.build_spec(config, state)
    cat, new, _ = steps.values_NC[:, 0]
    assert are_parallel(spec.vectors_VD[cat], VECTORS["cat"])
    assert are_parallel(spec.vectors_VD[new], VECTORS["new"])
    assert cat < spec.num_learned <= new
    assert not spec.vectors_VD[:2].any()


def test_a_table_that_fits_no_word_or_no_words_is_refused(
    config: TextInput, tmp_path: Path
) -> None:
    with pytest.raises(UnlearnableError, match="has no vector for any of the 2 words"):
        fit([frame(["foreign mots"] * 2)], config)
    write_token_table(tmp_path / "tokens", ["cat"])
    words = TextInput(
        column="text", tokenizer="word", pretrained_embeddings=str(tmp_path / "tokens")
    )
    with pytest.raises(UnlearnableError, match=r"leave inputs\.tokenizer out"):
        fit([frame(ROWS)], words)
