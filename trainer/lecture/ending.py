"""The verdicts on claims that a study of an experiment ends with. Imports no torch, unless a claim uses a network."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.errors import ConfigError, RunError
from trainer.lecture.claim import GROUP, Claim, claim_files, read_claim
from trainer.lecture.content import NOT_RUN, ClaimResult
from trainer.runtime.console import say, waiting
from trainer.runtime.files import expanded

EXPERIMENT = "experiment="


def tell_claims(folder: Path, command: Sequence[str]) -> None:
    """Print the verdict on each claim that names the experiment of a study, and whose arms it has.

    `command`: the arguments as typed; a folder that is named in the record of a study is not read.
    """
    name = experiment_of(command)
    if not name:
        return
    with waiting("Judging the claims"):
        found = [result for claim in claims_on(name, command) if (result := _judged(claim, folder))]
    for result in found:
        say("")
        say(f"Claim ({result.places}): {result.title}: {result.verdict} ({result.here})", "bold")
        for statement in result.statements:
            say(f"  {statement.sentence}")


def experiment_of(command: Sequence[str]) -> str:
    """Return the experiment that a study's command names, "" if none."""
    return next((word.partition("=")[2] for word in command if word.lstrip("+").startswith(EXPERIMENT)), "")


def claims_on(experiment: str, command: Sequence[str] = ()) -> Iterator[Claim]:
    """Yield the claims that an experiment tests; `command` may name a folder of further claims."""
    given = [expanded(word.partition("=")[2]) / GROUP for word in command if word.startswith("--config-dir=")]
    for path in claim_files(given).values():
        if experiment in path.read_text(encoding="utf-8"):  # most files are not even parsed
            claim = read_claim(path)
            if experiment in claim.experiments or f"{EXPERIMENT}{experiment}" in shlex.split(claim.study or ""):
                yield claim


def _judged(claim: Claim, folder: Path) -> ClaimResult | None:
    """Return the result of a claim in a study, None if it lacks an arm or cannot be read."""
    from trainer.lecture.perform import judged, with_texts

    try:
        return judged(claim, folder, with_texts(claim, NOT_RUN))
    except (ConfigError, RunError):
        return None
