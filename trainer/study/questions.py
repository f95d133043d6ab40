"""The answers beside the comparisons of a study's verdict, each from a module of its own. Imports no torch."""

from collections.abc import Iterator

from trainer.stats.finding import Finding
from trainer.stats.verdict import Verdict
from trainer.study.also import also
from trainer.study.asked import answers
from trainer.study.results import StudyResults
from trainer.study.target_findings import time_to_target
from trainer.study.trial_findings import trial_findings


def findings(results: StudyResults, judged: Verdict) -> Iterator[Finding]:
    """Yield the answers to what was asked of a study beside which arm is better, in the order of their sentences."""
    yield from time_to_target(results, judged)
    yield from answers(results, judged)
    yield from also(results)
    yield from trial_findings(results)
