"""`python -m trainer lecture`: every claim of the lecture tested, and the book of the results."""

import os
from collections.abc import Sequence
from pathlib import Path

from trainer.cli.common import Parser, count, not_empty
from trainer.cli.report import open_page
from trainer.errors import ConfigError, as_reported
from trainer.lecture.claim import BUDGETS, GROUP, Claim, claim_files, read_claim
from trainer.lecture.content import FAILED, NOT_RUN, VERDICTS
from trainer.lecture.task import Task, refuse_deciding, task_of
from trainer.runtime.console import duration, say, show_columns
from trainer.runtime.files import expanded, make_folder
from trainer.runtime.lock import locked
from trainer.runtime.text import counted
from trainer.storage.places import output_root

DESCRIPTION = """\
Test the claims of the lecture, each by a study or a demonstration, and write the results as one book: book.html,
book.md and, with --slides, slides.html. A claim is a YAML file; `conf/claim/` holds those of the lecture.

  quick   scikit-learn's digits, without a download: the whole book in a quarter of an hour on two cores
  full    MNIST where it lies in data_dir, else digits
  gpu     CIFAR-10 with the lecture's epochs, one run at a time

The same command continues after a stop: no finished run is trained again, and runs that claims share are trained once.
The book can be read at any time. No run reads a test set."""

EPILOG = """\
examples:
  python -m trainer lecture                                    # the whole book
  python -m trainer lecture --list                             # the claims, their runs and times
  python -m trainer lecture --claim batch_norm_larger_rates --open
  python -m trainer lecture --note 002 --slides
  python -m trainer lecture --claims my_course --output outputs/my_course

exit code 0: every claim was tested, whatever its verdict. 1: a test failed. 2: the command or a claim is wrong.
130: stopped."""

MEASURED_AT_A_TIME = 2  # claims, when their seconds were measured


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("lecture", DESCRIPTION, EPILOG)
    options.add_argument("settings", nargs="*", metavar="SETTING=…", help="data_dir, device, wandb.mode and the like")
    options.add_argument("--budget", choices=BUDGETS, default=BUDGETS[0], help="default: quick")
    options.add_argument("--note", action="append", default=[], metavar="NOTE", help="only claims of this note: 002")
    options.add_argument("--claim", action="append", default=[], metavar="NAME", help="only this claim")
    options.add_argument("--list", action="store_true", help="list the claims and their results, and test none")
    options.add_argument(
        "--claims", type=not_empty, metavar="FOLDER", help="the claims of a course: its own YAML files, and no others"
    )
    options.add_argument(
        "--config-dir", type=not_empty, metavar="DIR", help="folder whose claim/ holds further claims, or other ones"
    )
    options.add_argument("--slides", action="store_true", help="write slides.html, too: a claim a slide")
    cores = os.cpu_count() or 1
    options.add_argument(
        "--workers", type=count, metavar="N", help=f"runs at a time; default: {cores}, with --budget gpu 1"
    )
    place = output_root() / "lecture"
    options.add_argument(
        "--output", type=not_empty, metavar="FOLDER", help=f"the book's folder; default: {place}/BUDGET"
    )
    options.add_argument("--open", action="store_true", help="open the book in the browser")
    return options


def main(arguments: Sequence[str]) -> int:
    """Test the claims and write the book. Return 0, or 1 if a test failed."""
    request = parser().read(arguments)
    refuse_deciding(request.settings)
    folder: Path = expanded(request.output) if request.output else output_root() / "lecture" / request.budget
    files = _files(request.claims, request.config_dir)
    named = {"--claims": request.claims, "--config-dir": request.config_dir, "--output": request.output}
    options = [word for flag, value in named.items() if value for word in (flag, value)]
    every = [
        task_of(read_claim(path), path, request.budget, folder, request.settings, options) for path in files.values()
    ]
    every.sort(key=lambda task: (task.claim.note, task.claim.line, task.claim.name))
    tasks = [task for task in every if _wanted(task.claim, request.note, request.claim)]
    _refuse_unknown(request.note, request.claim, every)
    if request.list:
        _list(tasks)
        return 0
    return _test(tasks, every, folder, request.workers or _workers(request.budget), request.slides, request.open)


def _workers(budget: str) -> int:
    return 1 if budget == "gpu" else os.cpu_count() or 1


def _files(course: str | None, config_dir: str | None) -> dict[str, Path]:
    """Return the files of the claims. Raises ConfigError if a folder holds none."""
    folders = [expanded(config_dir) / GROUP] if config_dir else []
    if course:
        folders.insert(0, expanded(course))
    for folder in folders:
        if not any(path.is_file() for path in folder.glob("*.yaml")):
            raise ConfigError(f"{folder}: holds no claim, a file NAME.yaml such as those of conf/{GROUP}/")
    return claim_files(folders, shipped=not course)


def _wanted(claim: Claim, notes: Sequence[str], names: Sequence[str]) -> bool:
    return (not notes or claim.note in notes) and (not names or claim.name in names)


def _refuse_unknown(notes: Sequence[str], names: Sequence[str], every: Sequence[Task]) -> None:
    """Raise ConfigError for a note or a claim that there is not."""
    from difflib import get_close_matches

    known = {"--note": [task.claim.note for task in every], "--claim": [task.claim.name for task in every]}
    for flag, typed in (("--note", notes), ("--claim", names)):
        for word in typed:
            if word not in known[flag]:
                near = get_close_matches(word, known[flag], n=1, cutoff=0.5)
                hint = f" Did you mean {near[0]}?" if near else ""
                accepted = (
                    "python -m trainer lecture --list" if flag == "--claim" else ", ".join(sorted({*known[flag]}))
                )
                raise ConfigError(f"{flag} {word}: there is none.{hint} Accepted: {accepted}")


def _list(tasks: Sequence[Task]) -> None:
    """Print the claims with their places, times and results."""
    from trainer.lecture.saved import saved

    rows = []
    for task in tasks:
        result, current = saved(task)
        verdict = (
            NOT_RUN if result is None else result.verdict if current else f"{result.verdict} (of earlier settings)"
        )
        rows.append((task.claim.note, str(task.claim.line), task.claim.name, _time(task), verdict))
    show_columns(("note", "line", "claim", "time", "result"), rows, (1, 3))
    say("")
    say(_size(tasks))


def _time(task: Task) -> str:
    seconds = _measured_seconds(task)
    return "not measured" if seconds is None else duration(seconds)


def _measured_seconds(task: Task) -> float | None:
    if not task.words:
        return 2.0  # a demonstration
    budget = task.claim.budgets.get(task.budget)  # type: ignore[call-overload]
    return budget.seconds if budget else None


def _size(tasks: Sequence[Task]) -> str:
    """Return how much is to be done in words."""
    studies = sum(bool(task.words) for task in tasks)
    seconds = [_measured_seconds(task) for task in tasks]
    known = [each for each in seconds if each is not None]
    text = f"{counted(len(tasks), 'claim')}: {counted(studies, 'study', 'studies')}"
    text += f", {counted(len(tasks) - studies, 'demonstration')}" if len(tasks) > studies else ""
    if known and tasks[0].budget != "gpu":
        text += f"; about {duration(sum(known) / MEASURED_AT_A_TIME)} on two cores, {MEASURED_AT_A_TIME} at a time"
    unmeasured = len(seconds) - len(known)
    return text + (f"; the time of {unmeasured} is not measured" if unmeasured else "")


def _test(tasks: Sequence[Task], every: Sequence[Task], folder: Path, workers: int, slides: bool, show: bool) -> int:
    """Test the claims of `tasks`, and write the book of `every` claim. Return 1 if a test failed."""
    from trainer.lecture.book.making import book_of
    from trainer.lecture.book.pages import write_book
    from trainer.lecture.session import Progress, run_claims

    progress = Progress(tasks)
    done = progress.known()
    before = f"; {counted(done, 'is', 'are')} tested already" if done else ""
    say(f"{_size(tasks)}{before}", "bold")

    def write() -> None:
        write_book(book_of(every), folder, slides)

    make_folder(folder)
    try:
        with locked(folder):
            run_claims(progress, workers, write)
    except KeyboardInterrupt as error:
        say(f"Stopped: {len(progress.results)} of {counted(len(tasks), 'claim')} tested. The same command continues")
        say(f"Book: {folder / 'book.html'}", "bold")
        raise as_reported(error) from None
    verdicts = [result.verdict for result in progress.results.values()]
    say(", ".join(f"{verdicts.count(each)} {each}" for each in VERDICTS if each in verdicts))
    say(f"Book: {folder / 'book.html'}", "bold")
    if show:
        open_page(folder / "book.html")
    return 1 if FAILED in verdicts else 0
