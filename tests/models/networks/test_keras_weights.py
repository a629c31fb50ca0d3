"""Keras: its layers as cells, and weights loaded from models that TensorFlow trained."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import UnlearnableError
from models.networks.cells.keras_import import import_keras
from models.networks.config import ModelConfig
from models.networks.encoder import Encoder
from models.networks.jagged import Offsets
from models.networks.keras_weights import load_keras_weights, read_keras_layers
from models.networks.layer import build_cell
from models.networks.network import build_network
from tests.support.model_parts import build_plain_spec

TENSORFLOW = """
import sys
import numpy as np
import keras
from keras import layers, ops

assert keras.backend.backend() == "tensorflow"
folder = sys.argv[1]
keras.utils.set_random_seed(0)
values = np.random.default_rng(0).normal(size=(4, 30, 5)).astype("float32")
np.save(f"{folder}/values.npy", values)


def save_model(name, *stack, ending=("keras", "h5")):
    model = keras.Sequential([keras.Input((None, 5)), *stack])
    # Fresh biases are zeros, which would hide their own mistakes.
    model.set_weights([w + 0.1 * np.random.normal(size=w.shape) for w in model.get_weights()])
    for kind in ending:
        model.save(f"{folder}/{name}.{kind}")
    np.save(f"{folder}/{name}.npy", model(values).numpy())


every = {"return_sequences": True}
save_model("rnn", layers.SimpleRNN(6, **every))
save_model("lstm", layers.LSTM(6, **every))
save_model("gru", layers.GRU(6, **every))
save_model("lstm-both", layers.Bidirectional(layers.LSTM(6, **every)))
save_model("gru-both", layers.Bidirectional(layers.GRU(6, **every)))
save_model("lstm-bare", layers.LSTM(6, use_bias=False, **every))
save_model("gru-bare", layers.GRU(6, use_bias=False, **every))
save_model("lstm-stack", layers.Bidirectional(layers.LSTM(6, **every)), layers.Dropout(0.5),
     layers.Bidirectional(layers.LSTM(6, **every)))
save_model("within", keras.Sequential([layers.GRU(6, **every)]))
save_model("relu", layers.LSTM(6, activation="relu", **every))
save_model("before", layers.GRU(6, reset_after=False, **every))
save_model("summed", layers.Bidirectional(layers.LSTM(6, **every), merge_mode="sum"))
save_model("back", layers.LSTM(6, go_backwards=True, **every))
save_model("over", layers.RNN(layers.StackedRNNCells([layers.LSTMCell(6)]), **every))
save_model("dense", layers.Dense(6))
keras.Sequential([keras.Input((None, 5)), layers.LSTM(6)]).save_weights(f"{folder}/only.weights.h5")
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that TensorFlow saved, and their predictions."""
    folder = tmp_path_factory.mktemp("tensorflow")
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    subprocess.run(
        [sys.executable, "-c", TENSORFLOW, str(folder)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return folder


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(
    ("name", "cell", "layers"),
    [
        ("rnn", "rnn", 1),
        ("lstm", "lstm", 1),
        ("gru", "gru", 1),
        ("lstm-both", "lstm", 1),
        ("gru-both", "gru", 1),
        ("lstm-bare", "lstm", 1),
        ("gru-bare", "gru", 1),
        ("lstm-stack", "lstm", 2),
        ("within", "gru", 1),
    ],
)
def test_a_tensorflow_model_has_the_same_predictions_here(
    trained: Path, name: str, cell: str, layers: int, ending: str
) -> None:
    both = name.endswith(("both", "stack"))
    config = ModelConfig(cell=cell, hidden_size=6, num_layers=layers, bidirectional=both)
    encoder = Encoder(config, 5, embeds_inputs=False).eval()
    load_keras_weights(encoder.layers, trained / f"{name}.{ending}", cell)
    values = np.load(trained / "values.npy")

    with torch.no_grad():
        flat = torch.from_numpy(values.reshape(-1, 5))
        result, _ = encoder(flat, Offsets.from_lengths([30] * 4), flat)

    expected = np.load(trained / f"{name}.npy").reshape(120, -1)
    assert np.abs(result.numpy() - expected).max() < 1e-5


def test_a_job_starts_from_the_weights_that_it_names(trained: Path) -> None:
    config = ModelConfig(cell="lstm", hidden_size=6, pretrained_weights=str(trained / "lstm.keras"))

    network = build_network(config, build_plain_spec(5, 3), seed=0)

    [stored] = read_keras_layers(trained / "lstm.keras")
    kernel = network.encoder.layers[0].cells[0].kernel  # type: ignore[union-attr]
    assert torch.equal(kernel.weight_ih_l0.T, stored.weights[0][0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("relu.keras", "layer 'lstm.*' has activation 'relu'; only 'tanh' is read"),
        ("before.keras", "reset_after False"),
        ("summed.keras", "merges its directions by sum"),
        ("back.keras", "go_backwards True"),
        ("over.keras", "is a RNN; only SimpleRNN, LSTM, GRU are read"),
        ("dense.keras", "has no layer of SimpleRNN, LSTM, GRU"),
        ("only.weights.h5", "give a whole model"),
        ("nowhere.keras", "there is no file"),
        ("values.npy", "Keras cannot read"),
    ],
)
def test_layers_that_cannot_be_loaded_are_named(trained: Path, name: str, message: str) -> None:
    with pytest.raises(UnlearnableError, match=f"^pretrained_weights: .*{message}"):
        read_keras_layers(trained / name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 8}, "is lstm of 6 units on 5 numbers; the job's is lstm of 8 units"),
        ({"cell": "gru"}, "the job's is gru of 6 units on 5 numbers; make them the same"),
        ({"bidirectional": True}, "numbers, bidirectional; make them the same"),
        ({"num_layers": 2}, "has 1 recurrent layers and the job 2; set model.num_layers: 1"),
    ],
)
def test_the_error_for_another_shape_describes_the_file(
    trained: Path, settings: dict[str, object], message: str
) -> None:
    config = {
        "cell": "lstm",
        "hidden_size": 6,
        "pretrained_weights": str(trained / "lstm.keras"),
    } | settings

    with pytest.raises(UnlearnableError, match=message):
        build_network(ModelConfig(**config), build_plain_spec(5, 3), seed=0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_a_keras_layer_agrees_with_our_cell(name: str, tmp_path: Path) -> None:
    keras_cell = build_cell(ModelConfig(cell=f"keras-{name}", hidden_size=6), inputs=5)
    for weight in keras_cell.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    values, offsets = torch.randn(24, 5, requires_grad=True), Offsets.from_lengths([11, 1, 12])
    keras = import_keras()
    copy = getattr(keras.layers, keras_cell.layer_name)(6, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 5)), copy])
    copy.set_weights([weight.detach().numpy() for weight in keras_cell.weights])
    model.save(tmp_path / "model.keras")
    encoder = Encoder(ModelConfig(cell=name, hidden_size=6), 5, embeds_inputs=False)
    load_keras_weights(encoder.layers, tmp_path / "model.keras", name)

    outputs, ends = keras_cell(values, offsets)
    expected, own_states = encoder.layers[0](values, offsets)  # type: ignore[operator]

    torch.testing.assert_close((outputs, ends), (expected, own_states), rtol=1e-5, atol=1e-6)
    gradients = [
        torch.autograd.grad(each.square().sum(), values)[0] for each in (outputs, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_the_initial_weights_of_a_keras_cell_depend_only_on_the_seed() -> None:
    config = ModelConfig(cell="keras-gru", hidden_size=6, bidirectional=True)

    first, again, other = (
        build_network(config, build_plain_spec(5, 3), seed=seed).state_dict() for seed in (1, 1, 2)
    )

    assert list(first) == list(other)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(
        first["encoder.layers.0.cells.0.weights.0"], other["encoder.layers.0.cells.0.weights.0"]
    )
    assert not torch.equal(
        first["encoder.layers.0.cells.0.weights.0"], first["encoder.layers.0.cells.1.weights.0"]
    )
