"""A number, with what is uncertain about it where that is learned too.

Shapes: B sequences, P numbers of the pooling, R parts of an answer.
"""

from torch import Tensor, nn

from models.networks.heads.face import Answers, Encoded, Head
from models.networks.heads.forms import Form


class NumberHead(Head):
    """A scaled number, as its form has it."""

    def __init__(self, inputs: int, form: Form) -> None:
        super().__init__()
        self.form = form
        self.read = nn.Linear(inputs, form.raw)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, R]."""
        return self.form.parts(self.read(encoded.pooled_BP))

    def loss(self, encoded: Encoded, answers: Answers) -> Tensor:
        """Return the mean error, on the scale of the training answers' spread."""
        return self.form.loss(self(encoded), answers.values_M.float())

    def unlike(self, encoded: Encoded, advice_BO: Tensor) -> Tensor:
        """Return how far the number is from other networks'."""
        return self.form.unlike(self(encoded), advice_BO.float())
