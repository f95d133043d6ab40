"""A process of another program: it is as before a call, it can be interrupted, it may have threads."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from conftest import program
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.resolvers import oc
from test_api import FAST, bits

import trainer
from trainer.errors import Interrupted
from trainer.runtime.signals import WARNINGS


@pytest.mark.long
def test_two_runs_in_a_process_are_as_good_as_two_processes(in_empty_folder):
    """Whatever the program has set before; and what it has set is as before."""
    settings = (*FAST, "dropout=0.5", "epochs=2", "augmentation=[noise]", "optimizer=momentum")
    done = program(*settings, "output_dir=alone", cwd=in_empty_folder)
    assert (done.returncode, done.stderr) == (0, "")
    alone = bits(trainer.load("alone"))
    config = trainer.compose(*settings)
    torch.manual_seed(7)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, *WARNINGS)]
    before, environment = torch.get_rng_state(), dict(os.environ)
    try:
        for seed in (1, 0):
            run = trainer.train(trainer.compose(*settings, f"seed={seed}"), progress=False)
        assert bits(run) == alone
        assert torch.equal(torch.get_rng_state(), before) and torch.get_default_dtype() == torch.float64
        assert not torch.is_grad_enabled() and torch.get_num_threads() == 1
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    with torch.inference_mode():
        assert bits(trainer.train(config, progress=False)) == alone
    assert dict(os.environ) == environment
    assert [signal.getsignal(number) for number in (signal.SIGINT, *WARNINGS)] == handlers


def test_hydra_and_omegaconf_stay_those_of_the_program(in_empty_folder, monkeypatch):
    monkeypatch.setenv("OWN", "text")
    Path("own").mkdir()
    Path("own/config.yaml").write_text("value: ${oc.env:OWN}\n")
    HydraConfig.instance().cfg = kept = OmegaConf.create({"hydra": {}})
    OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)  # its own one, which another test has replaced
    with hydra.initialize_config_dir(str(Path("own").absolute()), version_base="1.2"):
        trainer.compose(*FAST)
        assert hydra.compose("config").value == "text"
    assert HydraConfig.instance().cfg is kept
    HydraConfig.instance().cfg = None


def test_a_file_that_changed_between_two_calls_is_read_anew(in_empty_folder):
    images, labels = np.arange(40 * 64, dtype="uint8").reshape(40, 8, 8), np.arange(40) % 2
    config = trainer.compose("dataset=arrays", "dataset.file=data.npz", *FAST[2:], "epochs=1", "data_dir=.")
    np.savez("data.npz", images=images, labels=labels)
    first = trainer.train(config, progress=False)
    np.savez("data.npz", images=images[::-1], labels=labels)
    assert bits(trainer.train(config, progress=False)) != bits(first)


STOPPING = '''
import signal
from pathlib import Path

from trainer.config.types import Count

STEPS = []


def stopping(images, labels, classes, generator, *, times: Count = 1):
    """Send Ctrl-C in the third step of the first run."""
    STEPS.append(1)
    if len(STEPS) == 3 and not Path("stopped").exists():
        Path("stopped").touch()
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
    return images, labels
'''


@pytest.fixture
def mine(in_empty_folder):
    """A folder with an augmentation that interrupts the process."""
    Path("mine").mkdir()
    Path("mine/augmentation.py").write_text(STOPPING)
    return "mine"


@pytest.mark.parametrize(("times", "handler"), [(1, None), (2, None), (1, lambda number, frame: None)])
def test_an_interrupt_saves_says_where_and_leaves_the_process_alive(mine, times, handler):
    settings = (*FAST, "epochs=2", "augmentation=[stopping]", f"augmentation.stopping.times={times}")
    if handler:  # such as that of a loop of asyncio
        signal.signal(signal.SIGINT, handler)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        Interrupted, match=r"^stopped: the state is saved in .*digits_mlp.*\. To continue: trainer.load\("
    ) as caught:
        trainer.train(trainer.compose(*settings, techniques=mine), progress=False)
    assert signal.getsignal(signal.SIGINT) is before
    run = trainer.load(caught.value.folder, techniques=mine)
    assert run.result.state == "interrupted" and isinstance(caught.value, KeyboardInterrupt)
    resumed = run.resume(progress=False)
    assert resumed.result.state == "finished"
    whole = trainer.train(trainer.compose(*settings, techniques=mine), progress=False)
    assert bits(resumed) == bits(whole)


def test_an_interrupted_study_continues_by_the_same_call(mine):
    settings = (*FAST, "epochs=1", "augmentation=[stopping]", "seed=0,1")
    with pytest.raises(
        Interrupted, match=r"^stopped: the state is saved in .*sweeps.*\. The same call continues"
    ) as caught:
        trainer.study(*settings, techniques=mine, progress=False)
    assert [run.result.state for run in trainer.load(caught.value.folder).runs] == ["interrupted", "queued"]
    study = trainer.study(*settings, techniques=mine, progress=False)
    assert study.folder == caught.value.folder.absolute()
    assert [run.result.state for run in study.runs] == ["finished"] * 2


def test_an_interrupt_while_one_is_reported_tells_the_folder_as_well(mine, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("trainer.records.interrupt.outcome_or_damage", interrupted)
    for call in (trainer.study, lambda *settings, **given: trainer.train(trainer.compose(*settings, **given))):
        Path("stopped").unlink(missing_ok=True)
        with pytest.raises(Interrupted, match="the state is saved in"):
            call(*FAST, "epochs=1", "augmentation=[stopping]", techniques=mine)


def test_an_interrupt_before_the_first_step_says_that_nothing_was_begun(in_empty_folder, monkeypatch):
    monkeypatch.setattr("trainer.run.load", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Interrupted, match=r"^stopped: nothing was begun$"):
        trainer.train(trainer.compose(*FAST), progress=False)


def test_another_thread_and_a_loop_of_asyncio_train_as_well(in_empty_folder, capsys):
    config, runs = trainer.compose(*FAST, "epochs=1"), []

    async def within():
        runs.append(trainer.train(config, progress=False))

    asyncio.run(within())
    threads = [threading.Thread(target=lambda: runs.append(trainer.train(config, progress=False))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({str(bits(run)) for run in runs}) == 1 and len({run.folder for run in runs}) == 3
    assert capsys.readouterr().out == ""
