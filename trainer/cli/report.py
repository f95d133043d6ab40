"""`python -m trainer report FOLDER`: a study or a run as a page, as Markdown and in the terminal. Imports no torch."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from trainer.cli.common import Parser
from trainer.config.shell import sync_command
from trainer.errors import ConfigError, as_reported
from trainer.records.layout import MANIFEST
from trainer.reports import index, markdown, page
from trainer.reports.content import Content, of_study
from trainer.reports.expectation import answers, exit_code
from trainer.reports.progress import Progress
from trainer.reports.run_content import of_run
from trainer.runtime.console import say, show_columns, warn
from trainer.runtime.text import counted
from trainer.storage.places import named_place

DESCRIPTION = """\
Write the report of a study: which arm is better, by how much, and whether the runs suffice to show it.

report.html in the study's folder is one file that needs no network: the verdict, learning curves, a sortable table, the
axes of the search and the settings that differ. report.md holds the same without the curves. A single run has a report
as well; a folder of many studies and runs, such as outputs, gets an index page, and each of them the report that it
lacks. --watch follows a study that another process trains: the page loads itself again until the study has ended.

An arm is named as in the table: by the value that is varied (none, batch), or in full ('optimizer=adam lr=0.01').
A verdict needs at least three runs per arm (seed=0,1,2). --baseline is picked after the runs, so its comparisons are
corrected for all pairs; sweep.baseline names it before the first run. --expect 'adam > sgd' asks, for a script, whether
adam is better than sgd; a pair that the verdict does not compare is corrected for all pairs."""

EPILOG = """\
examples:
  python -m trainer report outputs/sweeps/STUDY --open
  python -m trainer report outputs/sweeps/STUDY --baseline none
  python -m trainer report outputs/sweeps/STUDY --explain
  python -m trainer report outputs/sweeps/STUDY --expect 'adam > sgd'
  python -m trainer report outputs/sweeps/STUDY --watch --open
  python -m trainer report outputs/RUN
  python -m trainer report outputs

exit code 0: done; a file of one of several runs may be damaged, which is said. 1: runs of the study are missing, the
study or the single run is damaged, or the page cannot be written. 2: the command is wrong. With --expect, 3: the runs
do not conclude it; 4: they conclude the opposite."""

DAMAGES = 5  # files that cannot be read and are named in the terminal, at most
NAME = 24  # letters of an arm's name on one line; a longer name is folded, so that more columns fit


def show(content: Content) -> None:
    """Print the table of arms, best first, and the verdict. A narrow terminal gets only the columns that fit."""
    titles = page.titles(content)
    show_columns(titles, page.texts(page.rows(content)), range(1, len(titles)), NAME)
    for line in content.sentences:
        say(line)


def _explain(content: Content) -> None:
    """Print the words of the verdict, each with its explanation."""
    say("")
    for term, meaning in content.words:
        say(f"{term}: {meaning}")


def _report_wandb(content: Content, publish: bool) -> None:
    if publish:
        from trainer.reports.wandb_report import publish as create

        for kind, address in create(content).items():
            say(f"W&B {kind}: {address}")
    elif any((run.folder / "wandb").is_dir() for arm in content.arms for run in arm.runs):
        runs = "wandb/offline-run-*" if content.kind == "run" else "{.,*}/wandb/offline-run-*"
        say(f"To upload the offline W&B runs: {sync_command(content.folder, runs)}")


def parser() -> Parser:
    """Return the parser of the command."""
    options = Parser("report", DESCRIPTION, EPILOG)
    options.add_argument("folder", nargs="?", metavar="FOLDER", help="folder of a study or a run, or of many")
    options.add_argument("--baseline", metavar="ARM", help="compare the others with this arm; default: the best one")
    options.add_argument(
        "--expect",
        metavar="'ARM > ARM'",
        action="append",
        default=[],
        help="exit with 0 if the first arm is concluded to be better, 3 without a conclusion, 4 for the opposite; may"
        " be repeated",
    )
    options.add_argument("--explain", action="store_true", help="explain the words of the verdict")
    options.add_argument(
        "--ask", metavar="WHAT", help="answer this, too: superiority, not_worse, interaction; several with commas"
    )
    options.add_argument("--wandb", action="store_true", help="create a report and a saved view in W&B, too")
    options.add_argument(
        "--watch", action="store_true", help="of a study that is running: write the page anew as its runs end"
    )
    options.add_argument("--open", action="store_true", help="open the page in the browser")
    return options


def main(arguments: Sequence[str]) -> int:
    """Write and print the report. Return 0, 1 if runs of the study are missing, 3 or 4 if `--expect` is not met."""
    request = parser().read(arguments)
    if request.folder is None:
        parser().error("FOLDER: is missing")
    folder = named_place(request.folder)
    study = (folder / MANIFEST).is_file()
    if not study:
        _refuse_options_of_studies(request, folder)
    if request.watch:
        _watch(folder, request.baseline, request.open)
    if study or (folder / "config.yaml").is_file():
        path, code = _of_one(folder, request, study)
    else:
        path, code = _of_many(folder), 0
    say(f"Report: {path}", "bold")
    if request.open and not request.watch:
        open_page(path)
    return code


def _refuse_options_of_studies(request: argparse.Namespace, folder: Path) -> None:
    """Raise ConfigError for an option that only a study has."""
    for option, why in (
        ("wandb", f"--wandb: {folder} is no study; a single run needs no report in W&B"),
        ("baseline", f"--baseline={request.baseline}: {folder} is no study, it has no arms"),
        ("ask", f"--ask {request.ask}: {folder} is no study, it has no arms"),
        ("watch", f"--watch: {folder} is no study; a run is watched on its own terminal"),
        ("expect", f"--expect '{', '.join(request.expect)}': {folder} is no study, it has no arms"),
        ("explain", f"--explain: {folder} is no study, it has no verdict"),
    ):
        if getattr(request, option):
            raise ConfigError(why)


def _of_one(folder: Path, request: argparse.Namespace, study: bool) -> tuple[Path, int]:
    """Write and print the report of a study or a run; return its page and the exit code."""
    content = of_study(folder, request.baseline, ask=request.ask) if study else of_run(folder, full=True)
    found = answers(content, request.expect)
    show(content)  # before the files: the verdict is printed even if the folder cannot be written
    for answer in found:
        say(answer.sentence, "bold")
    if request.explain:
        _explain(content)
    markdown.write(content)
    path = page.write(content)
    _report_wandb(content, request.wandb)
    return path, exit_code(found) or (1 if content.missing else 0)


def _of_many(folder: Path) -> Path:
    """Write the index page of a folder and the reports that are missing; return the page."""
    path, studies, runs, unreadable = index.write(folder, reports=True)
    counts = ((studies, "study", "studies"), (runs, "single run", "single runs"))
    say(", ".join(counted(*each) for each in counts if each[0]) or "No study and no run can be read")
    for sentence in unreadable[:DAMAGES]:
        warn(sentence)
    if len(unreadable) > DAMAGES:
        warn(f"{counted(len(unreadable) - DAMAGES, 'more file')} cannot be read: {path} lists all")
    return path


def _watch(folder: Path, baseline: str | None, opens: bool) -> None:
    """Write the page of a running study until it ends, and print its progress."""
    from trainer.reports.watch import IDLE_SECONDS, watch

    path = folder / page.PAGE
    counts = list[tuple[int, int]]()  # of runs that have ended, and of all: a line for each change

    def tell(progress: Progress) -> None:
        if not counts:
            say(f"Watching: {path} (Ctrl-C ends it; the study goes on)", "bold")
            if opens:
                open_page(path)
        count = (progress.ended, progress.total)
        if count not in counts:
            say(progress.sentence)
        counts.append(count)

    try:
        ended = watch(folder, baseline, tell)
    except KeyboardInterrupt as interrupt:
        say(f"Report: {path}, as of now. The study was not touched", "bold")
        raise as_reported(interrupt) from None
    if not ended:
        warn(f"{folder} has not ended, and for {IDLE_SECONDS:.0f} s no process has trained it")


def open_page(path: Path) -> None:
    """Open a page in the browser. Raises ConfigError if there is none."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        raise ConfigError(f"--open: no browser was found here. Open {path} yourself")
