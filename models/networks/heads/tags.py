"""Head for any number of labels at once.

Shapes: B sequences, P numbers of the pooling, O labels, M labels that are present in all sequences.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.networks.heads.base import DISTILLATION_TEMPERATURE, Encoded, Head, Targets
from models.networks.heads.config import HeadConfig


class TagsHead(Head):
    """A logit for each label; a target is the codes of the labels that are present."""

    weight_O: Tensor

    def __init__(self, inputs: int, labels: int, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.scores = nn.Linear(inputs, labels)
        self.register_buffer("weight_O", torch.ones(labels))

    def set_class_weights(self, counts_O: Tensor, rows: int) -> None:
        """Weight presence as much as absence, from the labels' counts in the training rows."""
        if self.config.class_weights == "balanced":
            present_O = counts_O.clamp(min=1).float()
            self.weight_O.copy_((rows - counts_O).clamp(min=1) / present_O)

    def forward(self, encoded: Encoded) -> Tensor:
        """Return [B, O]."""
        logits_BO: Tensor = self.scores(encoded.pooled_BP)
        return logits_BO

    def loss(self, encoded: Encoded, targets: Targets) -> Tensor:
        """Return the mean binary cross-entropy over sequences and labels, or its focal form.

        A label that is not in the training rows has the code -1 and is in no target.
        """
        logits_BO = self(encoded).float()
        target_BO = torch.zeros_like(logits_BO)
        known_M = targets.values_M >= 0
        target_BO[targets.sequence_M[known_M], targets.values_M[known_M].long()] = 1.0
        smooth = self.config.label_smoothing
        losses_BO = functional.binary_cross_entropy_with_logits(
            logits_BO,
            target_BO * (1 - smooth) + smooth / 2,
            pos_weight=self.weight_O.to(logits_BO.dtype),
            reduction="none",
        )
        if self.config.focal_gamma:
            right_BO = torch.sigmoid(torch.where(target_BO > 0, logits_BO, -logits_BO))
            losses_BO = losses_BO * (1 - right_BO) ** self.config.focal_gamma
        return losses_BO.mean()

    def distillation_loss(self, encoded: Encoded, teacher_outputs_BO: Tensor) -> Tensor:
        """Return the cross-entropy with other networks' softened probabilities, label by label."""
        logits_BO, teacher_BO = (
            self(encoded).float() / DISTILLATION_TEMPERATURE,
            teacher_outputs_BO.float() / DISTILLATION_TEMPERATURE,
        )
        loss = functional.binary_cross_entropy_with_logits(logits_BO, teacher_BO.sigmoid())
        return DISTILLATION_TEMPERATURE**2 * loss
