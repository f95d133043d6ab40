"""The work that a claim asks for under a budget: its words as a multirun, its place, its identity. Imports no torch."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from trainer.config.schema import CONF
from trainer.config.shell import command as shell_command
from trainer.errors import ConfigError
from trainer.lecture.claim import GROUP, Budget, Claim
from trainer.runtime.files import expanded
from trainer.study.fingerprint import LIBRARIES, digest

PROJECT = "lecture"  # of W&B
# Of no influence on a result: W&B is off unless it is asked for, as it costs each short run more than its training.
ALWAYS = ("wandb.mode=disabled", f"wandb.project={PROJECT}")
# Settings that may be typed beside a budget: they say where and how, and change no result.
ALLOWED = ("data_dir", "device", "wandb.", "tensorboard", "hydra/launcher", "hydra.launcher.", "sweep.on_error")
# The first seed of a claim's runs. Its settings were chosen while looking at runs of smaller seeds, as a person types:
# a test on those would find what it was made for.
FRESH = 200
# What a claim's file may not set: flags and launchers could run a program, the others lead to another place.
REFUSED = ("hydra", "output_root", "output_dir", "resume", "retrain", "sweep.name", "sweep.dry_run", "wandb")
MNIST = "dataset=mnist"


@dataclass(frozen=True)
class Task:
    """A claim to be tested. `words`: those of its multirun, () for a demonstration; `seeds`: runs of each arm.

    `folder`: that of the book, in which studies lie under `sweeps`; `fallback`: why another budget is used. `options`:
    those of the command line that name folders.
    """

    claim: Claim
    path: Path
    budget: str
    words: tuple[str, ...]
    folder: Path
    fallback: str = ""
    options: tuple[str, ...] = ()

    @property
    def record(self) -> Path:
        """The file of the result."""
        return self.folder / "claims" / f"{self.claim.name}.json"

    @property
    def log(self) -> Path:
        """The file with all that its study says."""
        return self.folder / "claims" / f"{self.claim.name}.log"

    @property
    def study_words(self) -> tuple[str, ...]:
        """The words of its multirun with the place of the study."""
        return (f"output_root={self.folder}", f"sweep.name={self.claim.name}", *self.words)

    @property
    def command(self) -> str:
        """The command that repeats it."""
        if not self.words:
            assert self.claim.demonstration is not None
            return shell_command("lecture", *self.options, "--claim", self.claim.name)
        return shell_command("lecture", *self.options, "--budget", self.budget, "--claim", self.claim.name)

    @property
    def plain_command(self) -> str:
        """The command of its study alone, "" for a demonstration."""
        typed = [word for word in self.words if word not in ALWAYS and not word.startswith("wandb.group=")]
        return shell_command("-m", *typed) if typed else ""

    @property
    def identity(self) -> str:
        """The hash of what decides the result: what the claim tests, its words, the program; not its texts."""
        tested = self.claim.model_dump(include={"statements", "pictures", "demonstration"})
        mine = [word for word in self.words if not word.startswith(("wandb.", "data_dir="))]
        return digest([tested, mine, self.fallback, program()], 16)

    @property
    def why(self) -> str:
        """The reason of a verdict under the budget that is used, "" if none is given."""
        return self.claim.why.get("quick" if self.fallback or not self.words else self.budget, "")  # type: ignore[call-overload]


@cache
def program() -> str:
    """Return the hash of the program's files, of its YAML files but claims, and of the libraries' versions."""
    package = Path(__file__).parents[1]
    files = [*package.rglob("*.py"), *(path for path in CONF.rglob("*.yaml") if path.parent.name != GROUP)]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)]
    return digest([hashes, [version(name) for name in LIBRARIES]], 16)


def task_of(
    claim: Claim, path: Path, budget: str, folder: Path, typed: Sequence[str], options: Sequence[str] = ()
) -> Task:
    """Return the work that a claim asks for. `typed`: settings of the person, which take the place of others."""
    if claim.study is None:
        return Task(claim, path, budget, (), folder, options=tuple(options))
    chosen, fallback = chosen_budget(claim, budget, typed)
    seeds = () if "seed=" in chosen.settings else (f"seed=range({FRESH},{FRESH + chosen.seeds})",)
    place = (*ALWAYS, f"wandb.group={claim.name}")
    words = _over(_split(claim.study, path), _split(chosen.settings, path))
    words = _over([*words, *seeds, *place], typed)
    return Task(claim, path, budget, tuple(words), folder, fallback, tuple(options))


def _over(words: Sequence[str], later: Sequence[str]) -> list[str]:
    """Return the words with later ones, which take the place of those of the same settings."""
    given = {_key(word) for word in later}
    return [*(word for word in words if _key(word) not in given), *later]


def _key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def chosen_budget(claim: Claim, budget: str, typed: Sequence[str]) -> tuple[Budget, str]:
    """Return the settings under a budget: those of the next smaller one where it has none, or MNIST is missing.

    The second value says why it is another one, "" if it is not.
    """
    budgets = claim.budgets
    smaller = budgets.get("quick") or next(iter(budgets.values()))
    found = budgets.get(budget)  # type: ignore[call-overload]
    if found is None:
        return smaller, f"the claim has no budget {budget}"
    data = next((word.partition("=")[2] for word in reversed(typed) if word.startswith("data_dir=")), "data")
    if budget == "full" and MNIST in found.settings and not (expanded(data) / "MNIST" / "raw").is_dir():
        return smaller, f"MNIST does not lie in {data}"
    return found, ""


def refuse_deciding(typed: Sequence[str]) -> None:
    """Raise ConfigError for a typed setting that would change the results."""
    for word in typed:
        key = word.lstrip("+~").partition("=")[0]
        if "=" not in word or not key.startswith(ALLOWED):
            raise ConfigError(
                f"{word} (command line): would be another book. Accepted beside the options are settings that change no"
                f" result: {', '.join(f'{each}…' if each.endswith('.') else each for each in ALLOWED)}. To change a"
                " claim, copy its YAML file into a folder and name it: --claims FOLDER"
            )


def _split(text: str, path: Path) -> list[str]:
    """Return the words of a claim's study. Raises ConfigError for one that could run a program, or lead elsewhere."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{path}: study, settings: {error}, in: {text}") from None
    for word in words:
        if word.startswith("-") or word.lstrip("+~").startswith(REFUSED):
            raise ConfigError(
                f"{path}: study, settings: {word} is not taken from a claim, which could be written by anyone. Accepted"
                " are the settings of runs, and sweep.arms, sweep.params and tune"
            )
    return words
