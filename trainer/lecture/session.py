"""The making of a book: claims are tested one after the other in several processes, and the pages are written anew.

Claims that share runs are tested by one process, so that a run is trained once and taken over by the others. A process
that is killed loses nothing: each run continues from its checkpoint, each finished claim is in its file.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context

from trainer.errors import ConfigError, RunError
from trainer.lecture.content import FAILED, ClaimResult
from trainer.lecture.saved import saved
from trainer.lecture.task import Task
from trainer.runtime.console import duration, err, on_screen, say
from trainer.runtime.text import counted

WATCH_SECONDS = 1.0  # between two looks of a worker whether its parent is alive
BOOK_SECONDS = 10.0  # at least, between two writings of the unfinished book


@dataclass
class Progress:
    """The state of a session: results by claim, and the seconds that the finished ones took."""

    tasks: Sequence[Task]
    results: dict[str, ClaimResult] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> list[Task]:
        """The claims that are not tested yet."""
        return [task for task in self.tasks if task.claim.name not in self.results]

    def known(self) -> int:
        """Take over the saved results that are still right, and return their number. Failures are tried again."""
        for task in self.tasks:
            result, current = saved(task)
            if result and current and result.verdict != FAILED:
                self.results[task.claim.name] = result
        return len(self.results)


def run_claims(progress: Progress, workers: int, write: Callable[[], None]) -> None:
    """Test the claims that are left, `workers` at a time, and call `write` from time to time and at the end.

    Raises ConfigError for the first mistake in the settings of any claim before one is tested, KeyboardInterrupt after
    Ctrl-C, when every run under way has saved its state.
    """
    if not progress.left:
        write()
        return
    with _pool(min(workers, len(progress.left))) as pool:
        groups = _groups(pool, progress.left)
        waiting = iter(sorted(groups, key=_seconds, reverse=True))  # long ones first: the last ones end together
        running: dict[Future[list[ClaimResult]], list[Task]] = {}
        written = time.monotonic()
        with _status(progress, running) as show:
            try:
                while True:
                    while len(running) < workers and (group := next(waiting, None)):
                        running[pool.submit(_perform_next, group)] = group
                    if not running:
                        break
                    show()
                    done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in done:
                        group = running.pop(future)
                        (result,) = future.result()
                        progress.results[result.name] = result
                        _tell(progress, result)
                        if rest := [task for task in group if task.claim.name not in progress.results]:
                            running[pool.submit(_perform_next, rest)] = rest
                    if done and time.monotonic() - written > BOOK_SECONDS:
                        write()
                        written = time.monotonic()
            except BrokenProcessPool:
                raise RunError(
                    "a process that tested claims was killed, perhaps for lack of memory: the same command continues;"
                    " --workers 1 needs less"
                ) from None
            finally:
                write()


def _perform_next(group: Sequence[Task]) -> list[ClaimResult]:
    """Test the first claim of a group, in a worker."""
    from trainer.lecture.perform import perform

    return [perform(group[0])]


def _identities(task: Task) -> list[str]:
    from trainer.lecture.perform import identities

    return identities(task)


def _groups(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> list[list[Task]]:
    """Return the claims in groups that share runs. Raises ConfigError for a mistake in their settings."""
    groups: list[tuple[set[str], list[Task]]] = []
    futures = [pool.submit(_identities, task) for task in tasks]
    for task, future in zip(tasks, futures, strict=True):
        try:
            runs = set(future.result())
        except ConfigError as error:
            raise ConfigError(f"{task.path}: {error}") from None
        mine, others = (runs, [task]), []
        for each in groups:
            if each[0] & runs:
                mine = (mine[0] | each[0], [*each[1], *mine[1]])
            else:
                others.append(each)
        groups = [*others, mine]
    return [group for _, group in groups]


def _seconds(group: Sequence[Task]) -> float:
    """Return the seconds that a group took where it was measured; one that was not goes first."""
    known = [task.claim.budgets.get(task.budget) for task in group]  # type: ignore[call-overload]
    return sum(1.0 if budget is None else 600.0 if budget.seconds is None else budget.seconds for budget in known)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield processes that end with this one. On Ctrl-C each run under way saves its state first."""
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None and workers > 1:  # the workers would compete for the cores
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(os.getpid(),))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if threads is None:
            os.environ.pop("OMP_NUM_THREADS", None)


def _begin(parent: int) -> None:
    """Prepare a worker: as a training process, which ends when its parent is gone."""
    from trainer.runtime.process import configure_process
    from trainer.runtime.signals import install_handlers
    from trainer.runtime.stdio import protect_streams

    configure_process()
    protect_streams()
    install_handlers()
    # Ctrl-C between two claims, or while one is judged: the parent tells it, no traceback is shown.
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    """End this process when its parent is gone: a killed book leaves no trainings behind."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell(progress: Progress, result: ClaimResult) -> None:
    """Print a line for a claim that was tested."""
    style = {"holds here": "green", "does not hold here": "red", FAILED: "red"}.get(result.verdict, "")
    runs = f"{counted(result.runs, 'run')}, " if result.runs else ""
    done, total = len(progress.results), len(progress.tasks)
    say(f"[{done}/{total}] {result.title}: {result.verdict} ({runs}{duration(result.seconds)})", style)
    if result.verdict == FAILED:
        say(f"  {result.reason}")


@contextmanager
def _status(progress: Progress, running: dict[Future[list[ClaimResult]], list[Task]]) -> Iterator[Callable[[], None]]:
    """Show on a terminal which claims are being tested; yield the function that brings it up to date."""
    screen = err.status("Reading the claims", spinner="dots" if err.encoding.startswith("utf") else "line")
    if not on_screen(err):
        yield lambda: None
        return
    with screen or nullcontext():

        def show() -> None:
            names = ", ".join(group[0].claim.name for group in running.values())
            passed = duration(time.monotonic() - progress.started)
            screen.update(f"{names}; {len(progress.results)} of {len(progress.tasks)} claims, {passed}")

        yield show
