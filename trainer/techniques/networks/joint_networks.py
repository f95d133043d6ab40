"""Networks with outputs besides their logits, whose losses they compute themselves: multi-task and ensembles."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.techniques.loss import Loss, cross_entropy


class AuxiliaryLoss(nn.Module, ABC):
    """A network with outputs besides its logits, whose losses it computes itself."""

    @abstractmethod
    def auxiliary_loss(self, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """Return a scalar to add to the loss, for the last forward pass in training mode.

        `labels`: [N], or [N, K] once mixed; `loss`: that of the run.
        """


class HardSharing(AuxiliaryLoss):
    """One encoder with a fine and a coarse head; the encoder gets the gradients of both. Caruana 1997."""

    coarse_of: Tensor

    def __init__(self, encoder: nn.Module, features: int, coarse_of: Tensor, coarse_weight: float) -> None:
        super().__init__()
        self.encoder, self.coarse_weight = encoder, coarse_weight
        self.fine = nn.Linear(features, len(coarse_of))
        self.coarse = nn.Linear(features, coarse_of.shape[1])
        self.register_buffer("coarse_of", coarse_of)
        self.coarse_logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the fine logits [N, K]; those of the coarse head are kept for the loss."""
        features = self.encoder(images)
        self.coarse_logits = self.coarse(features) if self.training else None
        logits: Tensor = self.fine(features)
        return logits

    def auxiliary_loss(self, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """Return the weighted loss of the coarse head."""
        assert self.coarse_logits is not None
        return self.coarse_weight * _coarse_loss(self.coarse_logits, labels, self.coarse_of, loss)


class SoftSharing(AuxiliaryLoss):
    """Two networks of one shape, one for each task, with a penalty strength·Σ(θ₁ − θ₂)² on their encoders.

    Duong et al. 2015.
    """

    coarse_of: Tensor

    def __init__(
        self, encoders: tuple[nn.Module, nn.Module], features: int, coarse_of: Tensor, weight: float, strength: float
    ) -> None:
        super().__init__()
        self.encoder, self.coarse_encoder = encoders
        self.coarse_weight, self.strength = weight, strength
        self.fine = nn.Linear(features, len(coarse_of))
        self.coarse = nn.Linear(features, coarse_of.shape[1])
        self.register_buffer("coarse_of", coarse_of)
        self.coarse_logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the fine logits [N, K]; those of the coarse network are kept for the loss."""
        self.coarse_logits = self.coarse(self.coarse_encoder(images)) if self.training else None
        logits: Tensor = self.fine(self.encoder(images))
        return logits

    def auxiliary_loss(self, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """Return the weighted loss of the coarse network and the penalty on the distance."""
        assert self.coarse_logits is not None
        pairs = zip(self.encoder.parameters(), self.coarse_encoder.parameters(), strict=True)
        distance = torch.stack([(one - other).square().sum() for one, other in pairs]).sum()
        return (
            self.coarse_weight * _coarse_loss(self.coarse_logits, labels, self.coarse_of, loss)
            + self.strength * distance
        )


class Ensemble(AuxiliaryLoss):
    """Networks that see the same batches and share nothing; evaluated by the mean of their probabilities.

    In training mode it returns the logits of the first member, and `auxiliary_loss` is the loss of the others: the
    gradient of each member is that of its own loss, so that each trains as it would alone.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.others: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Return [N, K]: logits of the first member in training mode, else log-probabilities."""
        logits = [member(images) for member in self.members]
        if self.training:
            first, *self.others = logits
            return first
        # The logarithm of the mean probability, in logarithms: small probabilities do not underflow.
        log_probabilities = torch.stack([F.log_softmax(member, 1) for member in logits])
        return log_probabilities.logsumexp(0) - math.log(len(logits))

    def auxiliary_loss(self, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """Return the sum of the losses of all members but the first."""
        losses = [loss(logits.float(), labels) for logits in self.others]
        return torch.stack(losses).sum() if losses else torch.zeros((), device=labels.device)


def _coarse_loss(logits: Tensor, labels: Tensor, coarse_of: Tensor, loss: Loss) -> Tensor:
    """Return the loss for the coarse class of each label; mixed labels give mixed coarse ones."""
    return loss(logits.float(), coarse_of[labels] if labels.ndim == 1 else labels @ coarse_of)
