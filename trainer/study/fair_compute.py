"""Differences between arms in the compute of a step: gradients, and passes through the network."""

from collections.abc import Iterator, Sequence


def unequal_compute(
    names: Sequence[str], gradients: Sequence[int], forwards: Sequence[int], steps: Sequence[int]
) -> Iterator[tuple[str, float, str]]:
    """Yield (quantity, ratio, sentence) for each quantity in which arms differ.

    `gradients`: computed in a step by the optimizer. `forwards`: passes through the network for each of them.
    """
    yield from _unequal(names, gradients, steps, "gradients", "takes {} gradients a step")
    passes = [each * count for each, count in zip(forwards, gradients, strict=True)]
    if len(set(forwards)) > 1:  # else the gradients say it
        yield from _unequal(names, passes, steps, "forwards", "runs the network {} times a step")


def _unequal(
    names: Sequence[str], counts: Sequence[int], steps: Sequence[int], quantity: str, verb: str
) -> Iterator[tuple[str, float, str]]:
    many, few = counts.index(max(counts)), counts.index(min(counts))
    ratio = counts[many] / counts[few]
    if ratio == 1:
        return
    all_many, all_few = counts[many] * steps[many], counts[few] * steps[few]
    if steps[many] != steps[few]:
        totals = f"{_number(all_many)} and {_number(all_few)} in all"
        compute = f": as many in all, {_number(all_many)}" if all_many == all_few else f": {totals}"
    elif quantity == "gradients":
        compute = f": {'twice' if ratio == 2 else f'{ratio:g} times'} the compute"
    else:
        compute = ": more compute"  # a pass forward costs about half of one back
    yield quantity, ratio, f"{names[many]} {verb.format(counts[many])}, {names[few]} {counts[few]}{compute}"


def _number(value: int) -> str:
    return f"{value:,}".replace(",", " ")
