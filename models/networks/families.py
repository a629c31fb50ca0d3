"""The families of cells: a cell is one file in `cells`, and one entry here.

Nothing heavy is imported: a job file is checked against this table before torch is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple


class Family(NamedTuple):
    """One cell: where it is, and what a job may ask of it."""

    import_path: str
    """Module and class."""
    description: str
    """Whose it is, in a line."""
    parallel: bool = False
    """Whether training computes all steps of a sequence at once."""
    options: tuple[str, ...] = ()
    """Sections of the model's settings that this cell takes."""
    causal: bool = True
    """Whether an output depends on earlier steps alone, so that reading from both ends adds."""
    reads: Literal["steps", "trees"] = "steps"
    extra: str | None = None
    """Which optional packages it needs."""

    def load(self) -> Any:  # noqa: ANN401 - the class of the cell
        """Import the cell's class."""
        module, name = self.import_path.split(":")
        return getattr(import_module(f"models.networks.{module}"), name)


FAMILIES: dict[str, Family] = {
    "rnn": Family(
        "cells.rnn:Rnn",
        "Elman 1990, with tanh",
        options=("zoneout", "learn_initial_state", "pretrained_weights"),
    ),
    "lstm": Family(
        "cells.lstm:build_lstm",
        "Hochreiter and Schmidhuber 1997",
        options=("zoneout", "learn_initial_state", "peephole", "layer_norm", "pretrained_weights"),
    ),
    "gru": Family(
        "cells.gru:Gru",
        "Cho et al. 2014",
        options=("zoneout", "learn_initial_state", "pretrained_weights"),
    ),
    "mingru": Family("cells.min_rnn:MinGru", "Feng et al. 2024", parallel=True),
    "minlstm": Family("cells.min_rnn:MinLstm", "Feng et al. 2024", parallel=True),
    "sru": Family(
        "cells.sru:Sru", "Lei et al. 2018", parallel=True, options=("learn_initial_state",)
    ),
    "qrnn": Family(
        "cells.qrnn:Qrnn", "Bradbury et al. 2017", parallel=True, options=("kernel_size",)
    ),
    "lru": Family(
        "cells.lru:Lru", "Orvieto et al. 2023", parallel=True, options=("learn_initial_state",)
    ),
    "slstm": Family("cells.slstm:Slstm", "Beck et al. 2024, of xLSTM", options=("num_heads",)),
    "mlstm": Family(
        "cells.mlstm:Mlstm", "Beck et al. 2024, of xLSTM", parallel=True, options=("num_heads",)
    ),
    "keras-rnn": Family(
        "cells.keras_cells:KerasRnn", "SimpleRNN of Keras 3, on torch", extra="keras"
    ),
    "keras-gru": Family("cells.keras_cells:KerasGru", "GRU of Keras 3, on torch", extra="keras"),
    "keras-lstm": Family("cells.keras_cells:KerasLstm", "LSTM of Keras 3, on torch", extra="keras"),
    "cnn": Family(
        "convolution:Cnn",
        "one-dimensional convolution, as wide before a step as behind it",
        parallel=True,
        options=("kernel_size",),
        causal=False,
    ),
    "tcn": Family(
        "cells.tcn:Tcn",
        "Bai, Kolter and Koltun 2018, reaching twice as far a layer",
        parallel=True,
        options=("kernel_size", "dilation", "dropout"),
    ),
    "tree-lstm": Family(
        "cells.tree_lstm:TreeLstm",
        "Tai, Socher and Manning 2015, for trees",
        options=("children",),
        causal=False,
        reads="trees",
    ),
}

if TYPE_CHECKING:
    CellName = str
else:
    CellName = Literal[tuple(FAMILIES)]
