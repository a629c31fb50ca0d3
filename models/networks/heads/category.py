"""Head for one class of several.

Shapes: B sequences, P numbers of the pooling, O classes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.heads.base import DISTILLATION_TEMPERATURE, Encoded, Head, Targets
from models.networks.heads.config import HeadConfig


class CategoryHead(Head):
    """A logit for each class."""

    weight_O: Tensor

    def __init__(self, inputs: int, classes: int, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.scores = nn.Linear(inputs, classes)
        self.register_buffer("weight_O", torch.ones(classes))

    def set_class_weights(self, counts_O: Tensor, rows: int) -> None:
        """Weight all classes equally, from their counts in the training rows.

        The weights average 1 over the training rows, so that the scale of the loss does not change.
        """
        if self.config.class_weights == "balanced":
            present_O = counts_O.clamp(min=1).float()
            self.weight_O.copy_(rows / (len(counts_O) * present_O))

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, O]."""
        logits_BO: Tensor = self.scores(encoded.pooled_BP)
        return logits_BO

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the cross-entropy, or the focal loss (Lin et al. 2017).

        In training every step that has a target counts as much as a whole sequence.
        """
        logits_BO, codes_B = self(encoded).float(), targets.values_M.long()
        if encoded.node_targets_N is None or not self.training:
            return self.compute_loss(logits_BO, codes_B)
        labeled_N = (encoded.node_targets_N >= 0).nonzero()[:, 0]
        steps_NO = self.scores(encoded.steps_NH[labeled_N]).float()
        return self.compute_loss(
            torch.cat([logits_BO, steps_NO]),
            torch.cat([codes_B, encoded.node_targets_N[labeled_N]]),
        )

    def distillation_loss(self, encoded: Encoded, teacher_outputs_BO: Tensor) -> Tensor:
        """Return the divergence from the teachers' softened probabilities, scaled as a loss."""
        log_probs_BO = functional.log_softmax(
            self(encoded).float() / DISTILLATION_TEMPERATURE, dim=1
        )
        teacher_BO = functional.log_softmax(
            teacher_outputs_BO.float() / DISTILLATION_TEMPERATURE, dim=1
        )
        loss = functional.kl_div(log_probs_BO, teacher_BO, reduction="batchmean", log_target=True)
        return DISTILLATION_TEMPERATURE**2 * loss

    def compute_loss(self, logits_BO: Tensor, codes_B: Tensor) -> Tensor:
        """Return the weighted mean over the sequences."""
        weight_B = self.weight_O.to(logits_BO.dtype)[codes_B]
        losses_B = functional.cross_entropy(
            logits_BO,
            codes_B,
            reduction="none",
            label_smoothing=self.config.label_smoothing,
        )
        if self.config.focal_gamma:
            losses_B = losses_B * (-torch.expm1(-losses_B)) ** self.config.focal_gamma
        return (weight_B * losses_B).mean()
