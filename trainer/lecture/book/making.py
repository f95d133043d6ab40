"""The book of a folder: the saved results of all claims, in the order of the notes. Imports no torch."""

import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version

from trainer import __version__
from trainer.lecture.content import FAILED, FAILS, NOT_RUN, UNDECIDED, Book, ClaimResult, StatementResult
from trainer.lecture.perform import blank
from trainer.lecture.saved import saved
from trainer.lecture.task import Task
from trainer.runtime.console import duration
from trainer.stats.corrections import LEVEL

TITLE = "Training techniques: what holds here"
# The documents that the claims of this project cite; a course has its own.
DOCUMENTS = {
    "000": "Training techniques",
    "001": "Training techniques: optimization and generalization",
    "002": "Tips for training neural networks",
    "003": "Optimizers and regularization",
    "004": "Training deep networks: hyperparameters",
}


def book_of(tasks: Sequence[Task]) -> Book:
    """Return the book of these claims, with what is saved of them."""
    claims = [_claim(task) for task in tasks]
    tested, alarms = expected_false_alarms([claim.statements for claim in claims])
    run = [claim for claim in claims if claim.verdict != NOT_RUN]
    budget = tasks[0].budget if tasks else ""
    facts = [
        ("budget", budget),
        ("tested", f"{len(run)} of {len(claims)} claims, {sum(claim.runs for claim in run)} runs"),
        ("time", duration(sum(claim.seconds for claim in run))),
        ("machine", f"{platform.machine()}, {os.cpu_count()} cores; {_gpu()}"),
        ("program", f"ablation-trainer {__version__}, torch {version('torch')}, {date.today().isoformat()}"),
    ]
    documents = {note: DOCUMENTS.get(note, "") for note in dict.fromkeys(claim.note for claim in claims)}
    return Book(TITLE, budget, tuple(claims), tuple(facts), tested, alarms, documents)


def expected_false_alarms(claims: Sequence[Sequence[StatementResult]]) -> tuple[int, float]:
    """Return the number of claims that were tested on noisy runs, and how many would hold by chance were none true.

    Of the 5 % of false alarms of a claim half lie in the claimed direction.
    """
    tested = sum(any(each.p is not None and not each.exact for each in results) for results in claims)
    return tested, tested * LEVEL / 2


def _claim(task: Task) -> ClaimResult:
    """Return the saved result of a claim with its present texts, and a note if it is of other settings or code."""
    result, current = saved(task)
    if result is None:
        return blank(task, NOT_RUN)
    texts = blank(task)
    notes = () if current or result.verdict == FAILED else ("Tested with earlier settings or an earlier program",)
    return replace(
        result,
        note=texts.note,
        places=texts.places,
        title=texts.title,
        claim=texts.claim,
        next=texts.next,
        formula=texts.formula,
        why=task.why if result.verdict in (FAILS, UNDECIDED) else "",
        notes=(*notes, *result.notes),
    )


def _gpu() -> str:
    from trainer.runtime.gpus import visible_gpus

    found = visible_gpus()
    return f"{len(found)} GPU{'s' if len(found) > 1 else ''}" if found else "no GPU"
