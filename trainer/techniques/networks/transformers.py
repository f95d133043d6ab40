"""The vision transformer: patches of an image as tokens that attend to each other. Dosovitskiy et al. 2021."""

import math

import torch
from torch import Tensor, nn

from trainer.techniques.image_sizes import refuse_uneven
from trainer.techniques.layers import Residual, Slots, normalized
from trainer.techniques.networks.lecture_networks import dropout


class VisionTransformer(nn.Module):
    """A linear map of each patch, a class token, learned positions, pre-normalized blocks, a head on the token."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        slots: Slots,
        depth: int,
        width: int,
        heads: int,
        patch_size: int,
    ) -> None:
        super().__init__()
        inputs, height, across = shape
        refuse_uneven("vit", patch_size, height, across)
        self.patches = nn.Conv2d(inputs, width, patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        # Positions begin with a standard deviation of 0.02, as in the authors' code.
        tokens = 1 + (height // patch_size) * (across // patch_size)
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.dropout = nn.Sequential(*dropout(slots))
        self.blocks = nn.Sequential(*(_block(width, heads, slots) for _ in range(depth)))
        self.normalization = PerToken(*normalized((width,), slots))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, K]."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1)
        tokens = self.normalization(self.blocks(self.dropout(tokens + self.positions)))
        logits: Tensor = self.head(tokens[:, 0])
        return logits


def _block(width: int, heads: int, slots: Slots) -> nn.Module:
    """Return attention, then two linear layers with four times the width between them, each with a shortcut."""
    wide = 4 * width
    attention = [PerToken(*normalized((width,), slots)), Attention(width, heads), *dropout(slots)]
    hidden = [nn.Linear(width, wide * slots.activation.pieces), slots.activation.build(), *dropout(slots)]
    mlp = PerToken(*normalized((width,), slots), *hidden, nn.Linear(wide, width), *dropout(slots))
    return nn.Sequential(Residual(*attention), Residual(mlp))


class PerToken(nn.Sequential):
    """Layers for features [N, F], applied to each of the tokens [N, T, F]."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [N, T, F']."""
        result: Tensor = super().forward(tokens.flatten(0, 1))
        return result.unflatten(0, tokens.shape[:2])


class Attention(nn.Module):
    """Softmax(Q·Kᵀ / √d)·V in several heads of d features. Vaswani et al. 2017."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        # Linear layers, not torch's MultiheadAttention, whose one large parameter neither init nor decay would find.
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [N, T, F]."""
        queries, keys, values = (
            self.queries_keys_values(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        # Written out: of torch's fused kernels some have no deterministic gradient on a GPU.
        shares = (queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3])).softmax(3)
        result: Tensor = self.output((shares @ values).transpose(1, 2).flatten(2))
        return result
