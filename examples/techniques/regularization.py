"""Regularization of one's own: a function of the network that returns what it does in a training step (`StepHooks`)."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from trainer.config.types import Positive
from trainer.techniques.hooks import StepHooks


def noise_consistency(model: nn.Module, *, strength: Positive = 1.0, std: Positive = 10.0) -> StepHooks:
    """A penalty on answers that change with noise on the image: strength·KL(p‖q), q of a second pass. Sajjadi 2016.

    `std`: of the noise, on the scale of the pixels, 255 being white.
    """
    batch: list[Tensor] = []

    def remember(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        # After all augmentations, which come before a regularization. The generator is the one that a run saves.
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        white = 255 if images.dtype == torch.uint8 else 1
        batch[:] = [images.float() / white + std / 255 * noise]
        return images, labels

    def penalty(logits: Tensor, labels: Tensor) -> Tensor:
        noisy = F.log_softmax(model(batch[0]).float(), 1)
        clean = F.log_softmax(logits.detach(), 1)  # the answer to keep: no gradient flows to it
        return strength * F.kl_div(noisy, clean, reduction="batchmean", log_target=True)

    return StepHooks(augment=remember, penalty=penalty)


def gradient_centralization(model: nn.Module) -> StepHooks:
    """Take the mean off the gradient of each unit's incoming weights. Yong et al. 2020."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]

    def centralize() -> None:
        """Change the gradients, after the backward pass and before the optimizer's step."""
        for weight in weights:
            if weight.grad is not None:
                weight.grad.sub_(weight.grad.mean(tuple(range(1, weight.ndim)), keepdim=True))

    return StepHooks(limit_gradients=centralize)
