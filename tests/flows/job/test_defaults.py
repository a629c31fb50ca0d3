"""Defaults by kind of input and target: what is missing is filled, what is there stays."""

from flows.job.defaults import fill_defaults

SERIES = {
    "inputs": [{"column": "x", "kind": "series"}],
    "target": {"column": "y", "kind": "category"},
}


def test_series_in_lists_are_read_from_both_ends() -> None:
    assert fill_defaults(SERIES)["model"] == {
        "pooling": ["mean", "max"],
        "dropout": 0.3,
        "downsample": "auto",
        "hidden_size": 64,
        "bidirectional": True,
    }


def test_series_that_are_pretrained_on_keep_all_their_steps() -> None:
    filled = fill_defaults(SERIES | {"training": {"pretrain": "next_step"}})

    assert "downsample" not in filled["model"]


def test_a_setting_of_the_job_stays() -> None:
    filled = fill_defaults(SERIES | {"model": {"pooling": "last", "cell": "lstm"}})

    assert filled["model"]["pooling"] == "last"
    assert filled["model"]["bidirectional"]


def test_a_cell_that_reads_all_steps_at_once_has_no_second_direction() -> None:
    assert "bidirectional" not in fill_defaults(SERIES | {"model": {"cell": "cnn"}})["model"]


def test_trees_are_read_by_a_tree_lstm() -> None:
    job = SERIES | {"inputs": [{"column": "x", "kind": "tree"}]}

    assert fill_defaults(job)["model"]["cell"] == "tree-lstm"


def test_a_line_of_text_in_an_image_is_read_by_convolutions_and_ctc() -> None:
    job = {
        "inputs": [{"column": "image", "kind": "image"}],
        "target": {"column": "plate", "kind": "text"},
    }

    filled = fill_defaults(job)

    assert filled["inputs"][0]["sequence"] == "convolutions"
    assert filled["inputs"][0]["feature_stride"] == 4
    assert filled["head"] == {"decoder": "ctc"}
    assert filled["model"]["bidirectional"]
    assert filled["training"] == {"batch_size": 16, "epochs": 100}


def test_an_image_of_text_that_says_how_it_is_read_stays() -> None:
    entry = {"column": "image", "kind": "image", "sequence": "columns"}
    job = {"inputs": [entry], "target": {"column": "plate", "kind": "text"}}

    filled = fill_defaults(job | {"head": {"decoder": "attention"}})

    assert filled["inputs"] == [entry]
    assert filled["head"]["decoder"] == "attention"
    assert "training" not in filled


def test_a_forecast_whose_past_is_read_is_measured_from_its_last_value() -> None:
    job = {
        "inputs": [{"column": ["x", "y"], "kind": "series"}],
        "target": {"column": "y", "kind": "forecast"},
        "window": {"lookback": 10, "horizon": 2},
    }

    assert fill_defaults(job)["head"] == {"normalization": "nlinear"}
    assert "head" not in fill_defaults(job | {"inputs": [{"column": "x", "kind": "series"}]})
    assert "model" not in fill_defaults(job)


def test_columns_are_measured_from_their_last_values_where_the_past_of_all_is_read() -> None:
    job = {
        "inputs": [{"column": ["x", "y"], "kind": "series"}],
        "target": {"column": ["x", "y"], "kind": "forecast"},
        "window": {"lookback": 10, "horizon": 2},
    }

    assert fill_defaults(job)["head"] == {"normalization": "nlinear"}
    assert "head" not in fill_defaults(job | {"inputs": [{"column": "x", "kind": "series"}]})


def test_a_job_that_is_not_valid_stays_as_it_is() -> None:
    for job in ({}, {"inputs": 3, "target": {}}, SERIES | {"model": "auto"}):
        assert fill_defaults(job) == job


def test_frozen_vectors_have_a_small_learned_one_beside_them() -> None:
    job = {
        "inputs": [{"column": "x", "kind": "text", "pretrained_embeddings": "glove.txt"}],
        "target": {"column": "y", "kind": "category"},
    }

    assert fill_defaults(job)["model"]["embedding_dim"] == 32
    assert fill_defaults(job | {"model": {"embedding_dim": 8}})["model"]["embedding_dim"] == 8
    trained = [job["inputs"][0] | {"freeze_embeddings": False}]
    assert "embedding_dim" not in fill_defaults(job | {"inputs": trained})["model"]
