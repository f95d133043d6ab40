"""A formula in three forms, and the comparison of two of them."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Form = Callable[..., Any]
Compare = Callable[[Form, Form, np.random.Generator], float]  # both forms, random numbers → largest difference


@dataclass(frozen=True)
class Formula:
    """A formula as the book shows it. `text`: the formula, in lines of its own; `remark`: prose, "" without one.

    `numpy` and `torch`: source text; `check`: a sentence on their agreement.
    """

    name: str
    title: str
    text: str
    remark: str
    numpy: str
    torch: str
    check: str


@dataclass(frozen=True)
class Rule:
    """A formula as functions. `compare` runs both forms on the same random inputs, which `tried` describes.

    `tolerance`: the largest absolute difference that counts as agreement; the inputs are doubles of the size 1.
    """

    title: str
    text: str
    remark: str
    numpy: Form
    torch: Form
    compare: Compare
    tried: str
    tolerance: float = 1e-12

    def difference(self) -> float:
        """Return the largest difference of both forms. The random numbers of the caller stay as they are."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.compare(self.numpy, self.torch, np.random.default_rng(0))

    def formula(self, name: str) -> Formula:
        """Return the formula with its sources and the result of the comparison."""
        largest = self.difference()
        found = "no difference" if largest == 0 else f"largest difference {largest:.0e}"
        agree = "Both agree" if largest <= self.tolerance else "They do not agree"
        sentence = f"{agree} on {self.tried}: {found}, tolerance {self.tolerance:.0e}."
        return Formula(name, self.title, self.text, self.remark, source(self.numpy), source(self.torch), sentence)


def source(form: Form) -> str:
    """Return the source text of a function or class without indentation or a final line break."""
    return textwrap.dedent(inspect.getsource(form)).rstrip("\n")
