"""The losses: (logits [N, K], labels [N] or mixed labels [N, K]) → scalar, the mean over the images.

The chosen one is trained, validated and reported. Beside another one than cross-entropy every epoch also records the
cross-entropy, on which runs with different losses can be compared.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −ln of the probability of the true class; of mixed labels their weighted mean."""
    return F.cross_entropy(logits, labels)
