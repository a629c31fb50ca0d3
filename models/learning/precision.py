"""`precision: auto`.

On a GPU bf16 is always faster. On a CPU it depends on the cell and its size, so the choice is
looked up in a table of measurements: unlike a timing, it is the same for every run on one
kind of CPU. `tests/benchmarks/precision.py` measures them again.
"""

import torch

from models.learning.config import Precision, TrainingConfig
from models.learning.plan import TrainingPlan
from models.networks.config import ModelConfig

BF16_MIN_HIDDEN_SIZE: dict[str, int] = {"lstm": 128, "tcn": 128}
"""Hidden size from which on a cell trains at least 1.5 times as fast in bf16.

Measured on a Xeon with AMX, on one thread, over fp32 by the faster of torch's layers and compiled
ones; 64, 128, 256 and 512 units: lstm 1.4, 2.0, 2.5 and 3.8 times as fast; tcn 1.1, 1.9, 2.9 and
3.1. At 128 units both came to the same validation loss, within what another seed changes. gru
0.3 to 0.9, mingru 0.4, qrnn 0.7, sru 0.5, slstm 0.9, mlstm 0.8 to 1.3. Cells, widths and CPUs that
were not measured train in fp32."""


def choose_precision(
    config: TrainingConfig,
    model: ModelConfig,
    device: torch.device,
    resumed_plan: TrainingPlan | None,
) -> Precision:
    """Return the precision; a resumed run uses the one that it began with."""
    if resumed_plan is not None:
        return resumed_plan.precision
    if config.precision != "auto":
        return config.precision
    if device.type == "cuda":
        return "bf16"
    return "bf16" if _is_faster(model) and has_amx() else "fp32"


def has_amx() -> bool:
    """Return whether this CPU multiplies bf16 in tiles (AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _is_faster(model: ModelConfig) -> bool:
    """Return whether this network was measured to train faster in bf16 on a CPU with AMX."""
    min_size = BF16_MIN_HIDDEN_SIZE.get(model.cell)
    is_unrolled = model.peephole or model.layer_norm or model.zoneout > 0
    return min_size is not None and model.hidden_size >= min_size and not is_unrolled
