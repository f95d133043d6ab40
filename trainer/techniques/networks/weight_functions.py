"""The functions of a weight with which regularizations let a layer compute."""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.techniques.networks.reweighting import Reweighting


class WeightStandardization(Reweighting):
    """(w − mean) / √(variance + eps) over the incoming weights of each unit. Qiao et al. 2019, equations 6 and 7."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, weight: Tensor) -> Tensor:
        """Return the standardized weight."""
        rows = weight.flatten(1)
        variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
        return ((rows - mean) * (variance + self.eps).rsqrt()).view_as(weight)


class SpectralNormalization(Reweighting):
    """w / σ with the largest singular value σ of the weight as a matrix [outputs, inputs]. Miyato et al. 2018.

    σ = leftᵀ·w·right, with singular vectors that each training pass improves by power iterations.
    """

    left: Tensor
    right: Tensor
    FIRST = 15  # iterations for the initial weight, as in torch's parametrization

    def __init__(self, weight: Tensor, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        rows = weight.detach().flatten(1)
        self.register_buffer("left", F.normalize(torch.randn_like(rows[:, 0]), dim=0))
        self.register_buffer("right", F.normalize(torch.randn_like(rows[0]), dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight over its largest singular value."""
        if self.training:
            self.improve(weight, self.iterations)
        # Copies, as the next pass changes the vectors in place; of length 1 also where they are averages over steps.
        left, right = F.normalize(self.left.clone(), dim=0), F.normalize(self.right.clone(), dim=0)
        # Sums of products, and no matrix product, which precision=bf16 would compute in 16 bits.
        return weight / (weight.flatten(1) * left[:, None] * right).sum()

    @torch.no_grad()
    def improve(self, weight: Tensor, iterations: int) -> None:
        """Do power iterations, each of which brings the vectors nearer to the singular ones."""
        rows = weight.detach().flatten(1)
        for _ in range(iterations):
            self.left.copy_(F.normalize((rows * self.right).sum(1), dim=0))
            self.right.copy_(F.normalize((rows * self.left[:, None]).sum(0), dim=0))

    def start(self, weight: Tensor) -> None:
        """Find the singular vectors of the initial weight."""
        self.improve(weight, self.FIRST)
