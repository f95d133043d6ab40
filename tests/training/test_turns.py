"""Runs that advance in turns in one process (`sweep.concurrent`)."""

import os
import signal

import pytest
import torch

from trainer.errors import Preempted
from trainer.runtime import console
from trainer.training.turns import TurnTaking, pass_turn


def test_each_task_advances_by_one_step_and_a_free_place_is_taken_by_the_next():
    seen = []

    def task(name, steps):
        def run():
            for step in range(steps):
                seen.append(f"{name}{step}")
                pass_turn()

        return run

    TurnTaking(2).run([task("a", 3), task("b", 1), task("c", 2)])
    assert seen == ["a0", "b0", "a1", "c0", "a2", "c1"]
    pass_turn()  # outside of a group: nothing


def test_every_task_has_the_generator_and_the_settings_of_the_process_for_itself(tmp_path):
    drawn = {}

    def task(seed, deterministic, steps):
        def run():
            torch.manual_seed(seed)
            torch.use_deterministic_algorithms(deterministic)
            os.environ["WANDB_DATA_DIR"] = str(seed)
            with console.logged_to(tmp_path / f"{seed}.txt"):
                for _ in range(steps):
                    drawn.setdefault(seed, []).append(torch.rand(1).item())
                    console.say(f"run {seed}")
                    pass_turn()
                    assert torch.are_deterministic_algorithms_enabled() == deterministic
                    assert os.environ["WANDB_DATA_DIR"] == str(seed)

        return run

    torch.manual_seed(99)
    before = torch.get_rng_state()
    TurnTaking(3).run([task(1, True, 4), task(2, False, 2), task(3, True, 3)])
    for seed, numbers in drawn.items():
        torch.manual_seed(seed)
        assert numbers == [torch.rand(1).item() for _ in numbers]
        assert (tmp_path / f"{seed}.txt").read_text() == f"run {seed}\n" * len(numbers)
    assert not torch.are_deterministic_algorithms_enabled() and "WANDB_DATA_DIR" not in os.environ
    torch.manual_seed(99)
    assert torch.equal(before, torch.get_rng_state())


def test_after_an_exception_no_task_begins_and_those_that_run_end_first():
    seen = []

    def failing():
        pass_turn()
        raise OSError("no space")

    def other():
        for step in range(3):
            seen.append(step)
            pass_turn()

    with pytest.raises(OSError, match="no space"):
        TurnTaking(2).run([failing, other, lambda: seen.append("never")])
    assert seen == [0, 1, 2]


def test_a_signal_stops_every_task():
    from trainer.runtime.signals import defer_signals

    stopped = []

    def task(name):
        def run():
            with defer_signals() as interrupt:
                for step in range(100_000):  # until Python has handled the signal, in the main thread
                    if name == "b" and step == 5:
                        os.kill(os.getpid(), signal.SIGTERM)
                    pass_turn()
                    if interrupt:
                        stopped.append(name)
                        raise interrupt.error()

        return run

    with pytest.raises(Preempted, match="SIGTERM"):
        TurnTaking(2).run([task("a"), task("b"), task("c")])
    assert sorted(stopped) == ["a", "b"]


@pytest.mark.parametrize(("useful", "most"), [(1, 2), (4, 8), (16, 12)])
def test_auto_doubles_the_number_of_runs_until_no_more_steps_are_done_in_the_same_time(useful, most):
    """`useful` runs at once are that many times as fast; more are not."""
    now, running, largest = [0.0], [0], [0]

    def task():
        running[0] += 1
        for _ in range(2000):
            largest[0] = max(largest[0], running[0])
            now[0] += 0.05 / min(running[0], useful)
            pass_turn()
        running[0] -= 1

    TurnTaking(None, lambda: now[0]).run([task] * 12)
    assert largest[0] == most
