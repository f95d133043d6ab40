"""Readable names of layers: "convolution 2 of 6" for what the network calls 1.0.4. Imports no torch."""

from collections import Counter
from collections.abc import Mapping

# Class of a module → its name in messages; a class that is not listed is called by its own name.
WORDS = {
    "Conv2d": "convolution",
    "ReweightedConv2d": "convolution",
    "Linear": "linear layer",
    "ReweightedLinear": "linear layer",
    "BatchNorm1d": "batch normalization",
    "BatchNorm2d": "batch normalization",
    "LayerNorm": "layer normalization",
    "GroupNorm": "group normalization",
    "InstanceNorm2d": "instance normalization",
    "RMSNorm": "root-mean-square normalization",
    "MaxPool2d": "max pooling",
    "InputScaling": "input scaling",
    "Whitening": "whitening",
    "PatchWhitening": "patch whitening",
}


def layer_titles(kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the readable name of each layer; `kinds` maps its name in the network to its class, in the order there."""
    words = {name: WORDS.get(kind, kind) for name, kind in kinds.items()}
    totals, seen = Counter(words.values()), Counter[str]()
    titles = {}
    for name, word in words.items():
        seen[word] += 1
        titles[name] = f"{word} {seen[word]} of {totals[word]}"
    return titles
