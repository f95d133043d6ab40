"""The verdict of a study: which arm is better, by how much, and whether its runs suffice to conclude it.

Numbers in, sentences out; imports no torch. Each pair of arms is tested on its own spread, as arms differ in noise
(`trial.py`). Where all arms are compared with the best one, which is picked from the values that are then tested, the
comparison is corrected for all pairs (Dunnett's T3, 1980), where they are compared with one that was named before the
first run for those with it (Šidák 1967). Both in steps: once an arm is told apart, the others are corrected for the
arms that are left (Holm 1979). `scripts/verdict_calibration.py` measures this: of studies of identical arms with three
or more seeds at most 5 % report a difference, in all of its noises but one of very coarse steps (5.3 %).

Seeds are treated as pairs from eight on: runs of one seed are alike in similar arms (correlations of 0.03 to 0.6 were
recorded), and with fewer seeds the gain is lost by the halved degrees of freedom. Folds and splits are always treated
as pairs: they differ by more than arms do. But they share training images, so their differences are correlated: the
variance of the mean is not 1/n of theirs but 1/n + validation images / training images (Nadeau and Bengio 2003,
Bouckaert and Frank 2004). Seeds of one fold share all its images: their mean is the one value of that fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.stats.arms import Arm, ranked
from trainer.stats.comparison import Comparison
from trainer.stats.corrections import LEVEL, Bound
from trainer.stats.design import Design
from trainer.stats.finding import Finding
from trainer.stats.score_rule import score_sentence
from trainer.stats.sentences import test_sentence, too_few
from trainer.stats.trial import MIN_RUNS, Trial, by_images, trial


@dataclass(frozen=True)
class Verdict:
    """The comparisons, the closest rival first, and the sentences about the test and the images behind them."""

    design: Design
    comparisons: tuple[Comparison, ...]
    reasons: tuple[str, ...] = ()  # the sentences in place of comparisons where there is nothing to compare
    test: str = ""
    images: str = ""  # the sentence on other images, where a comparison says how it is on these
    equal: tuple[str, ...] = ()  # the sentences on arms whose runs gave the same results to the last digit
    reference: str = ""  # the arm that the others are compared with; "" without comparisons
    baseline: str = ""  # the same if it was named, also where nothing can be compared
    planned: bool = False  # the reference was named before the first run
    findings: tuple[Finding, ...] = ()  # the answers to further questions
    looked: bool = False  # by looks at a growing study
    outcome: str = ""  # how the looks have ended, or how far they are
    open: bool = False  # more looks may come
    winner: str = ""  # the arm that these looks have left alone
    blocks: tuple[tuple[str, "Verdict"], ...] = ()  # by name, where the scores of blocks are not compared

    @property
    def with_reference(self) -> tuple[Comparison, ...]:
        """The comparisons with the reference; an early look may have compared others."""
        return tuple(each for each in self.comparisons if self.reference in (each.first.name, each.second.name))

    @property
    def footnotes(self) -> list[str]:
        """The sentences on what the comparisons rest on: the score, the test, the images."""
        scored = self.comparisons or self.findings or self.blocks
        score = ". ".join(part for part in (score_sentence(self.design.score), self.design.lapse) if part)
        return [line for line in (score if scored else "", self.test, self.images) if line]

    def lines(self) -> list[str]:
        """Return all sentences; those of a block begin with its name."""
        sentences = [comparison.sentence(self.design) for comparison in self.comparisons]
        for name, judged in self.blocks:
            sentences += [f"{name}: {line}" for line in judged.lines() if line not in judged.footnotes]
        further = (finding.sentence for finding in self.findings if finding.sentence != self.outcome)
        told = (self.outcome, *self.equal, *self.reasons, *sentences, *further, *self.footnotes)
        return [line for line in told if line]


def judge(
    arms: Sequence[Arm], design: Design, baseline: str | None = None, picked: bool = False, families: int = 1
) -> Verdict:
    """Compare every other arm with the best one, or with the arm named `baseline`, which must have values.

    `picked`: the baseline was named after the runs, perhaps for its values, so that all pairs are corrected for.
    `families`: the number of such verdicts that share the 5 % of false alarms.
    Arms without values are left out. Raises StopIteration if there is no such baseline.
    """
    order = ranked((arm for arm in arms if arm.values), design.sign)
    if not order:
        return Verdict(design, (), ("No run has finished: there is nothing to compare",))
    if len(order) == 1:
        reason = f"Only one arm has finished runs, {order[0].name}: nothing to compare"
        if len(arms) == 1:
            reason = "One configuration is nothing to compare: give a setting several values, as in optimizer=sgd,adam"
        return Verdict(design, (), (reason,))
    # An arm with too few runs, as after a failure, may be the best by chance, and could not be compared with any other.
    best = next((arm for arm in order if len(arm.values) >= MIN_RUNS), order[0])
    reference = best if baseline is None else next(arm for arm in order if arm.name == baseline)
    others = [arm for arm in order if arm is not reference]
    most = max(len(by_images(arm).values if design.paired else arm.values) for arm in order)
    # The subject of each sentence comes first: the best arm, or the arm that is measured against the baseline.
    pairs = [(reference, arm) if baseline is None else (arm, reference) for arm in others]
    if most < MIN_RUNS:
        untested = tuple(Comparison(*pair, pair[0].mean - pair[1].mean) for pair in pairs)
        return Verdict(design, untested, (too_few(most, design),), reference=reference.name)
    trials = [trial(*pair, design.split_ratio) for pair in pairs]
    planned = baseline is not None and not picked
    comparisons = stepped(trials, len(order), planned, design, LEVEL / families)
    comparisons = tuple(each.shared(families) for each in comparisons)
    tested = any(comparison.p is not None for comparison in comparisons)
    test = test_sentence(comparisons, design, len(order), baseline, picked) if tested else ""
    return Verdict(design, comparisons, (), test, reference=reference.name, planned=planned)


def stepped(
    trials: Sequence[Trial], arms: int, against_baseline: bool, design: Design, level: float = LEVEL
) -> tuple[Comparison, ...]:
    """Correct the trials from the clearest on, each for the comparisons that are left, and all after the first failure.

    The comparisons of one arm with `arms` − 1 others count, `against_baseline`, else those of all pairs. `level`: the
    share of studies of identical arms that may report a difference.
    """
    left = {index for index, each in enumerate(trials) if each.error is not None}
    found: dict[int, Comparison] = {}
    p = 0.0
    while left:
        count = arms - len(found)
        tests = count - 1 if against_baseline else count * (count - 1) // 2
        bounds = {index: Bound(tests, against_baseline or trials[index].paired, level) for index in left}
        tails = {index: bounds[index].tail(trials[index].t, trials[index].df) for index in left}
        clearest = min(left, key=lambda index: tails[index])
        told = {clearest} if tails[clearest] < level else set(left)
        p = max(p, tails[clearest])  # no comparison has a smaller p than a clearer one
        for index in told:
            found[index] = _comparison(trials[index], max(p, tails[index]), bounds[index], design)
        left -= told
    return tuple(
        found.get(index, Comparison(each.first, each.second, each.difference)) for index, each in enumerate(trials)
    )


def _comparison(found: Trial, p: float, bound: Bound, design: Design) -> Comparison:
    assert found.error is not None
    needed = None
    if p >= bound.level and design.margin is not None and not design.split_ratio:
        # Not for folds: more of them would be other folds, smaller ones with training images more alike.
        needed = found.needed(design.margin, bound.tests)
    half = bound(found.df) * found.error
    return Comparison(
        found.first,
        found.second,
        found.difference,
        half,
        p,
        needed,
        found.t,
        found.df,
        paired=found.paired,
        bound=bound,
    )
