"""Head for a number, with its uncertainty where the loss learns it.

Shapes: B sequences, P numbers of the pooling, R parts of a prediction.
"""

from torch import Tensor, nn

from models.networks.heads.base import Encoded, Head, Targets
from models.networks.heads.outputs import PointOutput


class NumberHead(Head):
    """The parts of a scaled number, as its output defines them."""

    def __init__(self, inputs: int, form: PointOutput) -> None:
        super().__init__()
        self.form = form
        self.read = nn.Linear(inputs, form.num_raw)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, R]."""
        return self.form.compute_parts(self.read(encoded.pooled_BP))

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean error, on the scale of the training targets."""
        return self.form.loss(self(encoded), targets.values_M.float())

    def distillation_loss(self, encoded: Encoded, teacher_outputs_BO: Tensor) -> Tensor:
        """Return the loss against the outputs of other networks."""
        return self.form.distillation_loss(self(encoded), teacher_outputs_BO.float())
