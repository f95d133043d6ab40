"""Several blocks, such as data sets: each has its own verdict, then the differences of all are put together.

A score on one data set and a score on another say nothing about the settings they were reached with. Within a block
arms are compared as ever; the blocks share the 5 % of false alarms in steps (Holm 1979). Over all blocks the mean of
the differences is tested, whose errors add up: it holds for these blocks. From six blocks on Wilcoxon's signed-rank
test (1945) takes the blocks themselves as the sample and says whether more of them would agree. Imports no torch.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from trainer.stats.amounts import amount, p_text, signed
from trainer.stats.arms import Arm, ranked
from trainer.stats.comparison import Comparison
from trainer.stats.corrections import LEVEL
from trainer.stats.design import Design
from trainer.stats.finding import Finding
from trainer.stats.trial import MIN_RUNS, over_blocks, trial
from trainer.stats.verdict import Verdict, stepped

MIN_BLOCKS = 6  # of Wilcoxon's test: with five the smallest p is 0.06
QUESTION = "over_blocks"  # the findings that put the blocks together


def judged_in_steps(judges: Sequence[Callable[[int], Verdict]]) -> list[Verdict]:
    """Return the verdict of each block, given the functions that judge it at its share of the 5 %: 1 is the whole.

    As long as a block has something to conclude that is not concluded, it keeps its share.
    """
    verdicts = [judge(1) for judge in judges]
    left = {place for place, each in enumerate(verdicts) if _tested(each)}
    least = 0.0
    while left:
        found = {place: judges[place](len(left)) for place in sorted(left)}
        largest = {place: max(_tested(each)) for place, each in found.items()}
        clearest = min(found, key=lambda place: largest[place])
        for place in {clearest} if largest[clearest] < LEVEL else found.keys():
            verdicts[place] = _at_least(found[place], least)  # no p is smaller than one of a clearer block
            left.discard(place)
        least = max(least, largest[clearest])
    return verdicts


def _tested(judged: Verdict) -> list[float]:
    return [each.p for each in judged.comparisons if each.p is not None]


def _at_least(judged: Verdict, least: float) -> Verdict:
    """Return the verdict with no corrected p below `least`."""
    comparisons = (each if each.p is None else replace(each, p=max(each.p, least)) for each in judged.comparisons)
    return replace(judged, comparisons=tuple(comparisons))


@dataclass(frozen=True)
class Together:
    """Two arms over all blocks. `comparison`: of their mean differences; `differences`: in each block.

    `noun`: a block in words. `p_blocks`: of Wilcoxon's test, corrected, None for fewer than six blocks.
    """

    comparison: Comparison
    differences: Mapping[str, float]
    noun: str
    p_blocks: float | None = None

    def finding(self, design: Design) -> Finding:
        """Return the answer in words and figures."""
        each = self.comparison
        half = each.half_width
        figures = {
            "first": each.first.name,
            "second": each.second.name,
            "blocks": dict(self.differences),
            "better_on": self._agreeing(design.sign),
            "difference": each.difference,
            "interval": None if half is None else [each.difference - half, each.difference + half],
            "p": each.single_p,
            "p_corrected": each.p,
            "df": each.df,
            "concluded": each.concluded,
            "p_over_blocks": self.p_blocks,
        }
        return Finding(QUESTION, self._sentence(design), figures)

    def _agreeing(self, sign: int) -> int:
        """Return in how many blocks the difference has this sign."""
        return sum(sign * value > 0 for value in self.differences.values())

    def _sentence(self, design: Design) -> str:
        each, count = self.comparison, len(self.differences)
        first, second, blocks = each.first.name, each.second.name, f"{count} {self.noun}s"
        if each.p is None or each.half_width is None:
            shown = f"{signed(each.difference, design)} on average over these {blocks}"
            return f"{first} against {second}: {shown}, better on {self._agreeing(design.sign)} of them; no verdict"
        if each.concluded:
            sign = 1 if each.difference > 0 else -1
            word = "better" if sign == design.sign else "worse"
            on = f"on {self._agreeing(sign)} of {blocks}"
            shown = amount(abs(each.difference), each.half_width, design)
            told = f"{first} is {word} than {second} {on}, by {shown} on average over these {count} ({p_text(each.p)})"
        else:
            shown = amount(each.difference, each.half_width, design)
            told = f"{first} against {second} over all {blocks}: no conclusion ({shown} on average, {p_text(each.p)};"
            told += f" better on {self._agreeing(design.sign)} of them)"
        if self.p_blocks is None:
            return told
        test = f"Wilcoxon's test over the {blocks}, {p_text(self.p_blocks)}"
        if self.p_blocks < LEVEL:
            return f"{told}; expected on other {self.noun}s like these, too ({test})"
        return f"{told}; not certain on other {self.noun}s like these ({test})"


def together(
    blocks: Mapping[str, tuple[Sequence[Arm], Design]], baseline: str | None, picked: bool, noun: str
) -> list[Together]:
    """Return the comparisons over all blocks of every other arm with the best one on average, or with the baseline.

    `blocks`: arms and design of each. Arms without values in one of the blocks are left out; empty if less than two
    blocks or arms remain.
    """
    values = {name: {arm.name: arm for arm in arms if arm.values} for name, (arms, _) in blocks.items()}
    values = {name: arms for name, arms in values.items() if arms}
    names = [name for name in next(iter(values.values()), {}) if all(name in arms for arms in values.values())]
    if len(values) < 2 or len(names) < 2 or (baseline is not None and baseline not in names):
        return []
    design = next(iter(blocks.values()))[1]
    order = ranked((_over(name, values) for name in names), design.sign)
    fewest = {name: min(len(arms[name].values) for arms in values.values()) for name in names}
    best = next((arm for arm in order if fewest[arm.name] >= MIN_RUNS), order[0])
    reference = best if baseline is None else next(arm for arm in order if arm.name == baseline)
    others = [arm for arm in order if arm is not reference]
    pairs = [(reference, arm) if baseline is None else (arm, reference) for arm in others]
    trials = []
    for first, second in pairs:
        each = [
            trial(arms[first.name], arms[second.name], blocks[name][1].split_ratio) for name, arms in values.items()
        ]
        trials.append(replace(over_blocks(each), first=first, second=second))
    against_baseline = baseline is not None and not picked
    tests = len(others) if against_baseline else len(order) * len(others) // 2
    found = []
    for compared in stepped(trials, len(order), against_baseline, replace(design, margin=None)):
        differences = {name: value - compared.second.values[name] for name, value in compared.first.values.items()}
        p = min(1.0, tests * signed_rank([*differences.values()])) if len(values) >= MIN_BLOCKS else None
        found.append(Together(compared, differences, noun, p if compared.p is not None else None))
    return found


def _over(name: str, values: Mapping[str, Mapping[str, Arm]]) -> Arm:
    """Return an arm whose values are its means in the blocks."""
    return Arm(name, {block: arms[name].mean for block, arms in values.items()})


def signed_rank(differences: Sequence[float]) -> float:
    """Return the exact two-sided p of Wilcoxon's signed-rank test; differences of zero are left out."""
    sizes = sorted(abs(value) for value in differences if value)
    # Twice the rank, so that the mean rank of equal sizes is a whole number.
    ranks = {size: 2 * sizes.index(size) + 1 + sizes.count(size) for size in sizes}
    counts = Counter({0: 1})  # the ways in which the positive ranks add up to a sum
    for size in sizes:
        counts = Counter(counts) + Counter({total + ranks[size]: ways for total, ways in counts.items()})
    positive = sum(ranks[abs(value)] for value in differences if value > 0)
    middle = sum(ranks[size] for size in sizes) / 2
    far = sum(ways for total, ways in counts.items() if abs(total - middle) >= abs(positive - middle))
    return far / 2 ** len(sizes)


def test_over_blocks(judged: Sequence[Verdict], found: Sequence[Together], noun: str) -> str:
    """Return the sentence on the tests of several blocks; "" where nothing is tested."""
    tested = [each for each in judged if each.test]
    if not tested:
        return ""
    sentence = tested[0].test
    if len(tested) > 1:
        sentence += f". The {len(tested)} {noun}s share these 5 %: p and ± are corrected for them, too, in steps (Holm)"
    if any(each.comparison.p is not None for each in found):
        sentence += (
            f". The average over all {noun}s is a question of its own, with 5 % of its own: the mean of the"
            f" differences, and the errors of all {noun}s put together. It holds for these {noun}s"
        )
    return sentence
