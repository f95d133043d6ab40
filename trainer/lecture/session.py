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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from trainer.config.own import active, read, using
from trainer.config.schema import GROUPS
from trainer.errors import ConfigError, RunError
from trainer.lecture.content import FAILED, ClaimResult
from trainer.lecture.saved import saved
from trainer.lecture.task import Task
from trainer.runtime.console import duration, err, on_screen, redrawing, say, waiting
from trainer.runtime.text import counted

WATCH_SECONDS = 1.0  # between two looks of a worker whether its parent is alive
BOOK_SECONDS = 10.0  # at least, between two writings of the unfinished book


_own = ExitStack()  # in a worker: its own techniques
_stops = list[Event]()  # in a worker: it is set when the book is to stop

Running = dict[Future[ClaimResult], list[Task]]  # the claim that is tested, first of its group


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
    try:
        if progress.left:
            with _pool(min(workers, len(progress.left))) as pool:
                _test(pool, progress, workers, write)
    except BrokenProcessPool:
        raise RunError(
            "a process that tested claims was killed, perhaps for lack of memory: the same command continues;"
            " --workers 1 needs less"
        ) from None
    finally:
        write()


def _test(pool: ProcessPoolExecutor, progress: Progress, workers: int, write: Callable[[], None]) -> None:
    with waiting("Checking the claims"):
        queue = sorted(_groups(pool, progress.left), key=_seconds)  # the longest ones go first, from its end
    running: Running = {}
    written = time.monotonic()
    with _status(progress, running) as show:
        while queue or running:
            while queue and len(running) < workers:
                group = queue.pop()
                running[pool.submit(_perform_next, group)] = group
            show()
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                first, *rest = running.pop(future)
                progress.results[first.claim.name] = result = future.result()
                _tell(progress, result)
                if rest:
                    running[pool.submit(_perform_next, rest)] = rest
            if done and time.monotonic() - written > BOOK_SECONDS:
                write()
                written = time.monotonic()


def _perform_next(group: Sequence[Task]) -> ClaimResult:
    """Test the first claim of a group, in a worker."""
    from trainer.lecture.perform import perform

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if _stops and _stops[0].is_set():  # the claim was in the queue already
            raise KeyboardInterrupt
        return perform(group[0])
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # between two claims there is nothing to save


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
    """Yield processes that end with this one. After an interrupt each run under way saves its state first."""
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is None and workers > 1:  # the workers would compete for the cores
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    words = [each.word for each in active() if each.typed]  # own techniques, which a new process does not know
    context = get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(os.getpid(), stop, words))
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if threads is None:
            os.environ.pop("OMP_NUM_THREADS", None)


def _begin(parent: int, stop: Event, techniques: Sequence[str]) -> None:
    """Prepare a worker: a process that trains, stops when it is asked to, and ends when its parent is gone."""
    from trainer.runtime.process import configure_process
    from trainer.runtime.stdio import protect_streams

    # Ctrl-C on the terminal reaches the parent alone, which asks the workers once: a second signal would end a run
    # before it has saved its state.
    with suppress(OSError):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stops.append(stop)
    _own.enter_context(using([read(word, [*GROUPS]) for word in techniques]))
    configure_process()
    protect_streams()
    threading.Thread(target=_watch, args=(parent, stop), daemon=True).start()


def _watch(parent: int, stop: Event) -> None:
    """Interrupt this process when it is asked to stop, and end it when its parent is gone."""
    while os.getppid() == parent:
        if stop.wait(WATCH_SECONDS):
            os.kill(os.getpid(), signal.SIGINT)
            return
    os.kill(os.getpid(), signal.SIGKILL)  # a killed book leaves no trainings behind


def _tell(progress: Progress, result: ClaimResult) -> None:
    """Print a line for a claim that was tested."""
    style = {"holds here": "green", "does not hold here": "red", FAILED: "red"}.get(result.verdict, "")
    runs = f"{counted(result.runs, 'run')}, " if result.runs else ""
    done, total = len(progress.results), len(progress.tasks)
    say(f"[{done}/{total}] {result.title}: {result.verdict} ({runs}{duration(result.seconds)})", style)
    if result.verdict == FAILED:
        say(f"  {result.reason}")


@contextmanager
def _status(progress: Progress, running: Running) -> Iterator[Callable[[], None]]:
    """Show on a terminal which claims are being tested; yield the function that brings it up to date."""
    if not on_screen(err):
        yield lambda: None
        return
    with err.status("", spinner="dots" if err.encoding.startswith("utf") else "line") as screen, redrawing(err):

        def show() -> None:
            names = ", ".join(group[0].claim.name for group in running.values())
            passed = duration(time.monotonic() - progress.started)
            screen.update(f"{len(progress.results)} of {len(progress.tasks)} claims, {passed}: {names}")

        yield show
