"""Regularization of one's own: a function of the network that returns what it does in a training step (`StepHooks`)."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from trainer.config.types import OpenFraction, Positive
from trainer.techniques.hooks import StepHooks
from trainer.techniques.layers import Residual, ResidualBlock


def r_drop(model: nn.Module, *, strength: Positive = 1.0) -> StepHooks:
    """R-Drop: two passes with other dropout masks, and their divergence as a penalty. Liang et al. 2021.

    The penalty is the loss of the second pass and strength·(KL(p‖q) + KL(q‖p)) / 2. It needs dropout above 0.
    """
    batch: list[Tensor] = []

    def remember(images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        batch[:] = [images]  # after all augmentations, which come before a regularization
        return images, labels

    def penalty(logits: Tensor, labels: Tensor) -> Tensor:
        first, second = F.log_softmax(logits, 1), F.log_softmax(model(batch[0]).float(), 1)
        there = F.kl_div(first, second, reduction="batchmean", log_target=True)
        back = F.kl_div(second, first, reduction="batchmean", log_target=True)
        return F.cross_entropy(second, labels) + strength * (there + back) / 2

    return StepHooks(augment=remember, penalty=penalty)


def stochastic_depth(model: nn.Module, *, drop: OpenFraction = 0.1) -> StepHooks:
    """Stochastic depth: residual branches are left out at random, for each image; deeper ones more. Huang et al. 2016.

    It acts on the blocks of ResNets and changes no other network.
    """
    blocks = [module for module in model.modules() if isinstance(module, ResidualBlock | Residual)]
    for number, block in enumerate(blocks, 1):
        kept = 1 - drop * number / len(blocks)
        part = block.second if isinstance(block, ResidualBlock) else block
        part.register_forward_hook(_dropping(kept, isinstance(block, Residual)))
    return StepHooks()


def _dropping(kept: float, with_input: bool):
    """Return a hook that keeps the branch of an image with this probability, and enlarges it so that its mean stays."""

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        if not module.training:
            return None
        # The global generator is the one of dropout, whose state a run saves.
        keep = (torch.rand(len(output), 1, 1, 1, device=output.device) < kept) / kept
        return inputs[0] + keep * (output - inputs[0]) if with_input else keep * output

    return hook
