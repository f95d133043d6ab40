"""The types of options: their ranges for the check, their descriptions for error messages."""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan, Strict, StringConstraints

# Strict, as pydantic would convert: 2.5 and True are no whole numbers, True and "0.1" no numbers, 0 is no switch.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]
Switch = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]

Count = Annotated[int, Strict(), Ge(1)]
Epochs = Annotated[int, Strict(), Ge(1), Le(10**9)]  # a schedule divides by them
Looked = Annotated[int, Strict(), Ge(3), Le(1000)]  # seeds an arm: the spread of two is no estimate
CountOrZero = Annotated[int, Strict(), Ge(0)]
Members = Annotated[int, Strict(), Ge(1), Le(1000)]  # of an ensemble: each is a network to build
Repeats = Annotated[int, Strict(), Ge(1), Le(100)]  # of an operation within a step, which cannot be stopped between
Positive = Annotated[float, Strict(), AllowInfNan(False), Gt(0)]
NonNegative = Annotated[float, Strict(), AllowInfNan(False), Ge(0)]
Probability = Annotated[float, Strict(), AllowInfNan(False), Ge(0), Le(1)]
Fraction = Annotated[float, Strict(), AllowInfNan(False), Ge(0), Lt(1)]
OpenFraction = Annotated[float, Strict(), AllowInfNan(False), Gt(0), Lt(1)]
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # of a folder
DEVICES = ("auto", "cpu", "mps", "cuda")  # and cuda:N
Device = Annotated[str, StringConstraints(strict=True, pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Figure = Annotated[str, StringConstraints(strict=True, pattern=r"^validation_[A-Za-z0-9_]{1,60}$")]  # of an epoch
Score = Annotated[str, StringConstraints(strict=True, pattern=r"^(cross|best|last|mean:[1-9][0-9]{0,5})$")]  # of a run
Project = Annotated[str, StringConstraints(strict=True, max_length=128, pattern=r"^[^/\\#?%:]+$")]  # of W&B

BY_NAME: dict[str, Any] = {
    "int": Whole,
    "float": Number,
    "bool": Switch,
    "str": Text,
    "Count": Count,
    "Looked": Looked,
    "CountOrZero": CountOrZero,
    "Members": Members,
    "Repeats": Repeats,
    "Positive": Positive,
    "NonNegative": NonNegative,
    "Probability": Probability,
    "Fraction": Fraction,
    "OpenFraction": OpenFraction,
}

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def describe(kind: Any) -> str:
    """Return the accepted values of a type in words, such as "a number above 0 and below 1"."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind == Device:
        return "auto, cpu, mps, cuda or cuda:N"
    if kind == Name:
        return "a name of letters, digits, dot, dash and underscore"
    if kind == Figure:
        return "validation_NAME of a metric=[NAME]"
    if kind == Score:
        return "cross, best, last or mean:K, the last K validations"
    if kind == Project:
        return r"a text without / \ : # ? and %, of 1 to 128 letters"
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *_range(arguments[1:])]).strip()
    if origin is Literal:
        return "one of " + ", ".join(str(argument) for argument in arguments)
    if origin in (Union, types.UnionType):
        rest = [describe(argument) for argument in arguments if argument is not type(None)]
        return " or ".join(rest + (["null"] if type(None) in arguments else []))
    if origin is tuple and Ellipsis not in arguments:
        items = [describe(argument) for argument in arguments]
        return f"a list of {len(items)}, " + (f"each {items[0]}" if len(set(items)) == 1 else ", ".join(items))
    if origin in (tuple, list):
        return f"a list, each {describe(arguments[0])}"
    if origin is dict:
        return f"a group of options, each {describe(arguments[1])}"
    return _WORDS.get(kind, "a group of options")


def _range(constraints: tuple[Any, ...]) -> list[str]:
    words = []
    for constraint in constraints:
        match constraint:
            case Ge(ge=bound):
                words.append(f"of at least {bound}")
            case Gt(gt=bound):
                words.append(f"above {bound}")
            case Le(le=bound):
                words.append(f"and at most {bound}")
            case Lt(lt=bound):
                words.append(f"and below {bound}")
    return words
