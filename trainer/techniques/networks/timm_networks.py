"""Networks of timm (Wightman 2019), without pretrained weights."""

import warnings
from difflib import get_close_matches
from typing import Any

from torch import nn

from trainer.errors import ConfigError
from trainer.runtime.extras import require
from trainer.runtime.memory import is_out_of_memory
from trainer.techniques.layers import Slots


def timm_network(shape: tuple[int, int, int], classes: int, slots: Slots, architecture: str) -> nn.Module:
    """Return the network of this name; the dropout slot is the one before its last layer, if it has one.

    Raises ConfigError for an unknown name, and where timm cannot build the network for these images.
    """
    require("model=timm", "timm", "timm")
    import timm
    from timm.models import get_pretrained_cfg

    if not timm.is_model(architecture):
        close = get_close_matches(architecture, timm.list_models(), 3, 0.6)
        advice = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists them"
        raise ConfigError(f"model.architecture={architecture} is no network of timm {timm.__version__}: {advice}")
    # A transformer needs the number of patches, a network of convolutions takes any size and knows no such argument.
    known = get_pretrained_cfg(architecture)
    arguments: dict[str, Any] = {"in_chans": shape[0], "num_classes": classes}
    if known is not None and known.fixed_input_size:
        arguments["img_size"] = shape[1:]
    try:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Initializing zero-element tensors")  # refused below
                network: nn.Module = timm.create_model(architecture, drop_rate=slots.dropout, **arguments)
        except TypeError as error:
            if "drop_rate" not in str(error):
                raise
            slots.used.discard("dropout")
            network = timm.create_model(architecture, **arguments)
    except Exception as error:  # of any kind: the code of a thousand networks
        if is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"model.architecture={architecture}: timm cannot build it for images of"
            f" {'×'.join(map(str, shape))}: {reason}"
        ) from error
    if empty := next((name for name, weight in network.named_parameters() if not weight.numel()), None):
        raise ConfigError(
            f"model.architecture={architecture}: images of {'×'.join(map(str, shape))} are too small, they leave no"
            f" number in its weight {empty}"
        )
    return network
