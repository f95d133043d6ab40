"""Made-up documents as bags of words, each decided by one word: sparse features, of which many are rare."""

import numpy as np
from numpy.typing import NDArray

from trainer.data.images import Images, Part

SIDE = 16  # of an "image", which has a pixel for each word of the vocabulary
DOCUMENTS = {"train": 4000, "test": 1000}
SEEDS = {"train": 0, "test": 1}
TOPICS = 5  # of each kind
COMMON, RARE = 8, 32  # words that tell a topic, which its documents share
FILLERS = SIDE**2 - TOPICS * (COMMON + RARE)  # words that tell nothing, as "the" and "of"
LENGTH = 8  # filler words drawn for a document
CLASSES = tuple(f"{kind} {number}" for kind in ("common", "rare") for number in range(1, TOPICS + 1))


def read(part: Part) -> Images:
    """Return the documents of a part: uint8 [N, 1, 16, 16], 255 for a word that is there and 0 for one that is not.

    Each document has up to 8 filler words and one word of its topic. In the order of the pixels come the fillers, the
    words of the common topics and those of the rare topics; within each of these the most frequent word is the first.
    """
    count, draws = DOCUMENTS[part], np.random.default_rng(SEEDS[part])
    labels = np.arange(count) % (2 * TOPICS)
    words = np.zeros((count, SIDE**2), np.uint8)
    words[np.arange(count)[:, None], _zipf(draws.random((count, LENGTH)), FILLERS)] = 255
    chance, rare = draws.random(count), labels >= TOPICS
    first = FILLERS + np.where(rare, TOPICS * COMMON + (labels - TOPICS) * RARE, labels * COMMON)
    words[np.arange(count), first + np.where(rare, _zipf(chance, RARE), _zipf(chance, COMMON))] = 255
    return Images.of(words.reshape(count, SIDE, SIDE), labels, CLASSES)


def _zipf(chances: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Return one of `count` words for each number from 0 to 1: the word of rank r with a probability of 1 / r."""
    shares = np.cumsum(1 / np.arange(1, count + 1))
    # Not by the generator's own choice(): its draws may change from one version of NumPy to the next.
    return np.searchsorted(shares / shares[-1], chances, side="right")
