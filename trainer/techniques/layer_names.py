"""What a layer is called: "convolution 2 of 6", where the network itself says 1.0.4. Imports no torch."""

from collections import Counter
from collections.abc import Mapping

WORDS = {
    "Conv2d": "convolution",
    "Linear": "linear layer",
    "BatchNorm1d": "batch normalization",
    "BatchNorm2d": "batch normalization",
    "LayerNorm": "layer normalization",
    "GroupNorm": "group normalization",
    "MaxPool2d": "max pooling",
    "InputScaling": "input scaling",
}


def layer_titles(kinds: Mapping[str, str]) -> dict[str, str]:
    """Of each layer, by its name in the network; `kinds` holds the class of each, in the network's order."""
    words = {name: WORDS.get(kind, kind) for name, kind in kinds.items()}
    totals, seen = Counter(words.values()), Counter[str]()
    told = {}
    for name, word in words.items():
        seen[word] += 1
        told[name] = f"{word} {seen[word]} of {totals[word]}"
    return told
