"""Faults of files: torn, altered, a full disk, a folder that is read-only or missing; earlier files stay whole."""

import contextlib
import hashlib
import json
import math
import os
import resource
import shutil
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, compose, last_of, metrics, quick, quickly, timeless
from full_disk import fill, mounted, unmount
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_run import same_state

from trainer.errors import RunError
from trainer.records.layout import JOB
from trainer.records.outcome import read_outcome
from trainer.run import train
from trainer.storage import checkpoint
from trainer.storage.checkpoint import DamagedError, previous
from trainer.storage.checkpoint_state import Best
from trainer.study.worker import work
from trainer.training.trainer import ClassificationTrainer

TINY = ("model=mlp", "model.hidden=[256]", "dataset.image_size=8", "optimizer=momentum", "augmentation=crop")


def same_run(one: Path, other: Path) -> None:
    """Return the results of two runs without times and the folder's name."""
    for name in ("best.safetensors", "last.safetensors"):
        states = [checkpoint.load(folder / name) for folder in (one, other)]
        assert same_state(*(replace(state, config={}) for state in states)), name
    assert timeless(one) == timeless(other)
    assert (one / "best.json").read_text() == (other / "best.json").read_text()


def best_of(epoch: int, **model: torch.Tensor) -> Best:
    return Best(config={"lr": 0.1}, classes=["a", "b"], shape=[1, 8, 8], epoch=epoch, model=model)


def test_the_best_checkpoint_is_read_by_the_library_alone_and_by_any_json_parser(tmp_path):
    weights = {
        "1.weight": torch.randn(3, 4),
        "0.mean": torch.tensor(0.25),
        "empty": torch.empty(0, 3),
        "counts": torch.arange(5),
        "switch": torch.tensor([True, False]),
        "half": torch.randn(3).half(),
        "across": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    checkpoint.save(tmp_path / "best.safetensors", best_of(3, **weights))
    read = load_file(tmp_path / "best.safetensors")
    assert read.keys() == weights.keys()
    assert all(read[name].dtype == weights[name].dtype and torch.equal(read[name], weights[name]) for name in weights)
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        metadata = file.metadata()
    description = json.loads(metadata["description"], parse_constant=pytest.fail)
    assert description == {"config": {"lr": 0.1}, "classes": ["a", "b"], "shape": [1, 8, 8], "epoch": 3}
    assert metadata["format_version"] == "3"
    content = (tmp_path / "best.safetensors").read_bytes()
    blank = content.replace(metadata["sha256"].encode(), b"0" * 64)
    assert metadata["sha256"] == hashlib.sha256(blank).hexdigest()
    assert same_state(checkpoint.load(tmp_path / "best.safetensors"), best_of(3, **weights))


def test_the_last_checkpoint_gives_back_what_json_has_no_form_for(tmp_path):
    shared = torch.randn(4)
    state = {
        "epoch": 0,
        "progress": None,
        "model": {"0.weight": shared, "0.tied": shared, "0.part": shared[1:3]},
        "optimizer": {
            "state": {0: {"step": torch.tensor(3.0), "momentum_buffer": None}, 12: {}},
            "param_groups": [{"lr": 0.1 + 0.2, "betas": (0.9, 0.999), "params": [0, 12]}],
        },
        "schedule": {"steps": 10**15 - 1, "scale": 5e-324, "rule": {}},
        "hooks": {"ema": {"started": True, "module": {"0.weight": torch.zeros(2)}}},
        "early_stopping": {"best_loss": math.inf, "best_accuracy": math.nan, "reference": -math.inf},
    }
    checkpoint.save(tmp_path / "last.safetensors", last_of(state))
    assert sorted(load_file(tmp_path / "last.safetensors")) == [
        "hooks.ema.module.0.weight",
        "model.0.part",
        "model.0.tied",
        "model.0.weight",
        "optimizer.state.0.step",
    ]
    read = checkpoint.load(tmp_path / "last.safetensors").trainer
    assert same_state(read, state)
    assert list(read["optimizer"]["state"]) == [0, 12]
    (group,) = read["optimizer"]["param_groups"]
    assert (group["betas"], group["params"]) == ((0.9, 0.999), [0, 12])
    assert all(type(read["schedule"][key]) is type(value) for key, value in state["schedule"].items())


VALUES = {
    "tuple": (1, (2.5, None), "x"),
    "tuple of tensors": (torch.ones(2), [torch.zeros(0), {"a": torch.tensor(3)}]),
    "list of tensors of any type": [torch.ones(2, dtype=torch.bfloat16), torch.tensor(True), torch.ones(1, 0, 2)],
    "list that is empty": [],
    "tuple that is empty": (),
    "keys that are no texts": {3: "three", None: [1], True: (), 2.5: torch.ones(1), "3": 0},
    "a name that would lead to two places": {"a": {"c": 1}, "a.b": torch.ones(1)},
    "names with dots": {"1.0.weight": {"slow": torch.ones(2), "n": 1}, "1.1.bias": [torch.ones(1)], "1.2": 5},
    "keys like the tag": {"$": "list", "0": torch.ones(1)},
    "control characters in a name": {"\x1b[2J": torch.ones(1), "": {"": torch.ones(1)}},
    "numbers": [math.inf, -math.inf, math.nan, -0.0, 5e-324, 10**30, -3, True],
    "an optimizer within": {
        "state": {0: {"m": torch.ones(2)}},
        "param_groups": [{"betas": (0.9, 0.99), "list": [1, 2], "params": [0]}],
    },
}
OPTIMIZERS = {
    "no parameter": {"state": {"all": {"rank": 3}, 0: {"m": torch.ones(1)}}, "param_groups": [{"lr": 0.1}]},
    "lists in settings": {
        "state": {0: torch.ones(2), 1: [torch.ones(1)]},
        "param_groups": [{"lr": 0.1, "ranks": [1, 2], "nested": ([1], (2,)), "betas": (0.9, None), "params": [0, 1]}],
    },
    "tensors in settings": {
        "state": {},
        "param_groups": [{"k": torch.tensor(3), "betas": (0.9, 0.99), "names": ["a"], "params": [0]}],
    },
    "further parts": {"state": {}, "param_groups": [], "base": VALUES["an optimizer within"], "steps": (1, 2)},
}


@pytest.mark.parametrize("kind", VALUES)
def test_plain_values_and_tensors_in_any_nesting_are_given_back(kind, tmp_path):
    state = {"epoch": 0, "hooks": {"own": {"x": VALUES[kind]}}, "optimizer": {"state": {0: {"x": VALUES[kind]}}}}
    checkpoint.save(tmp_path / "last.safetensors", last_of(state))
    read = checkpoint.load(tmp_path / "last.safetensors").trainer
    assert same_types(read, state), read


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizers_state_of_any_form_is_given_back(kind, tmp_path):
    state = {"epoch": 0, "optimizer": OPTIMIZERS[kind]}
    checkpoint.save(tmp_path / "last.safetensors", last_of(state))
    assert same_types(checkpoint.load(tmp_path / "last.safetensors").trainer, state)


def same_types(one, other):
    """Return whether two trees are equal to the bit, down to the type of every list, key and tensor."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        keys = {(type(key), key) for key in one}
        return keys == {(type(key), key) for key in other} and all(same_types(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_types, one, other))
    return repr(one) == repr(other)


def nested(levels):
    value = 1.0
    for _ in range(levels):
        value = [value]
    return value


UNSTORABLE = {
    "a set": ({1, 2}, r"optimizer\.x cannot be saved: it is of type set\. What can be: tensors, numbers, texts,"),
    "a queue": ([deque([1])], r"optimizer\.x\[0\] cannot be saved: it is of type deque\. "),
    "a number of NumPy": ({"n": np.int64(3)}, r"optimizer\.x\.n cannot be saved: it is of type int64\. "),
    "a key": ({(1, 2): 3}, r"optimizer\.x cannot be saved: it has a key of type tuple, where a text is expected$"),
    "a phase": (
        torch.ones(1, dtype=torch.complex64),
        r"optimizer\.x cannot be saved: it is of type torch\.complex64\. ",
    ),
    "a sparse tensor": (
        torch.ones(2).to_sparse(),
        r"optimizer\.x cannot be saved: it is a tensor without plain values",
    ),
    "a long name": ({"x" * 501: torch.ones(1)}, r"the state cannot be saved: 'optimizer\.x\.x+' cannot be the name of"),
    "levels": (
        nested(40),
        r"the state cannot be saved: it holds far too many values, or nested far too deep, at trainer",
    ),
}


@pytest.mark.parametrize("kind", UNSTORABLE)
def test_what_cannot_be_read_back_is_not_written(kind):
    value, sentence = UNSTORABLE[kind]
    with pytest.raises(RunError, match=rf"^{sentence}"):
        checkpoint.serialize(last_of({"epoch": 0, "optimizer": {"state": {}, "x": value}}))


def test_a_run_whose_state_cannot_be_saved_ends_at_the_first_save(monkeypatch):
    class Counting(torch.optim.SGD):
        def state_dict(self):
            return {**super().state_dict(), "seen": {1, 2}}

    monkeypatch.setattr("trainer.techniques.optimizer.sgd", lambda params, lr, decay: Counting(params, lr))
    with pytest.raises(RunError) as caught:
        quick("optimizer=sgd", "epochs=3", "output_dir=run")
    assert str(caught.value).startswith("optimizer.seen cannot be saved: it is of type set. What can be: tensors, ")
    assert len(metrics(Path("run"))) == 1 and not Path("run/last.safetensors").exists()


def test_the_same_state_gives_the_same_file(tmp_path):
    """The library would change the order of the metadata with each file."""
    state = last_of({"epoch": 1, "model": {str(name): torch.full((3,), name) for name in range(50)}})
    assert len({b"".join(checkpoint.serialize(state)) for _ in range(5)}) == 1


def test_what_is_read_lies_where_torch_itself_would_put_it(tmp_path):
    """The last bits of a matrix product may depend on the alignment."""
    checkpoint.save(tmp_path / "best.safetensors", best_of(1, **{str(n): torch.randn(n) for n in range(1, 40)}))
    assert {each.data_ptr() % 64 for each in checkpoint.load(tmp_path / "best.safetensors").model.values()} == {0}


def test_every_altered_byte_and_every_torn_end_is_noticed(tmp_path):
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, best_of(1, value=torch.randn(20)))
    content = path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match=rf"^{path} (is incomplete or altered|cannot be read as a checkpoint)"):
            checkpoint.load(path)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            checkpoint.load(path)
    path.write_bytes(content + b"0")
    with pytest.raises(DamagedError, match=r"is incomplete or altered: its checksum does not match$"):
        checkpoint.load(path)


def test_a_file_without_its_checksum_is_refused(tmp_path):
    path = tmp_path / "best.safetensors"
    save_file({"0.weight": torch.ones(1)}, path, {"format_version": "3"})
    with pytest.raises(DamagedError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == f"{path} is incomplete or altered: its checksum is missing"


def test_a_safetensors_file_of_another_program_is_named(tmp_path):
    save_file({"0.weight": torch.ones(1)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError) as caught:
        checkpoint.load(tmp_path / "model.safetensors")
    assert str(caught.value) == f"{tmp_path}/model.safetensors is not a checkpoint of this trainer"


def test_a_type_that_would_not_be_read_is_not_written():
    with pytest.raises(RunError, match=r"^phase cannot be saved: it is of type torch\.complex64\. What can be: F64, "):
        checkpoint.serialize(best_of(1, phase=torch.ones(2, dtype=torch.complex64)))


def test_a_file_of_another_version_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", "4")
    checkpoint.save(tmp_path / "best.safetensors", best_of(1))
    monkeypatch.undo()
    with pytest.raises(RunError) as caught:
        checkpoint.load(tmp_path / "best.safetensors")
    assert str(caught.value) == f"{tmp_path}/best.safetensors has format version 4; this trainer reads 3"


@pytest.mark.long
def test_a_save_copies_no_tensor(tmp_path):
    """The peak of memory is that of a new process."""
    script = """
import resource, sys, torch
from pathlib import Path
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Best
model = {str(n): torch.ones(5_000_000) for n in range(10)}  # 200 MB
checkpoint.save(Path("warm.safetensors"), Best({}, [], [], 1, {"0": torch.ones(1)}))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
checkpoint.save(Path("best.safetensors"), Best({}, [], [], 1, model))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 0.1 * 200


@pytest.mark.parametrize("linked", [True, False])
def test_the_previous_one_is_kept_and_offered(linked, tmp_path, monkeypatch):
    """The same on a file system without second names."""
    path = tmp_path / "best.safetensors"
    if not linked:
        monkeypatch.setattr(os, "link", refusing(PermissionError(1, "Operation not permitted")))
    for value in (1, 2, 3):
        checkpoint.save(path, best_of(value))
    assert (checkpoint.load(path).epoch, checkpoint.load(previous(path)).epoch) == (3, 2)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        DamagedError, match=rf"\. The previous checkpoint is intact: {tmp_path}/best\.previous\.safetensors$"
    ):
        checkpoint.load(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best.previous.safetensors", "best.safetensors"]


def refusing(error):
    def refuse(*_):
        raise error

    return refuse


def test_what_cannot_be_read_back_replaces_nothing(tmp_path, monkeypatch):
    """A disk that reports no error and stores other bytes."""
    path, real = tmp_path / "last.safetensors", os.fsync
    for value in (1, 2):
        checkpoint.save(path, best_of(value))

    def rot(descriptor):
        os.pwrite(descriptor, b"?", 99)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", rot)
    with pytest.raises(RunError) as caught:
        checkpoint.save(path, best_of(3))
    assert str(caught.value) == f"{path} could not be written: what was written cannot be read back"
    assert (checkpoint.load(path).epoch, checkpoint.load(previous(path)).epoch) == (2, 1)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("loss", ["torn", "gone"])
def test_resume_goes_on_from_the_previous_one_and_comes_to_the_same_bits(loss, capsys):
    whole, parts = quick(*TINY, "epochs=4", "output_dir=whole"), quick(*TINY, "epochs=3", "output_dir=parts")
    path, leftover = parts.folder / "last.safetensors", parts.folder / ".best.safetensors.1.writing"
    leftover.write_bytes(b"half")  # of a kill in mid-write
    told = ("parts/last.safetensors is missing", " Continuing from the previous one, parts/last.previous.safetensors\n")
    if loss == "torn":
        path.write_bytes(path.read_bytes()[:2000])
        told = (
            "parts/last.safetensors is incomplete or altered: its checksum does not match.",
            " The previous checkpoint is intact: parts/last.previous.safetensors. Continuing from it\n",
        )
    else:
        path.unlink()
    train(compose(["resume=parts", "epochs=4"])[0])
    printed = capsys.readouterr()
    assert printed.err.startswith(f"trainer: warning: {told[0]}") and printed.err.endswith(told[1])
    assert "Folder: parts, continuing after epoch 2\n" in printed.out
    same_run(whole.folder, parts.folder)
    assert not leftover.exists()


def test_a_run_of_which_no_checkpoint_is_left_keeps_its_record():
    parts = quick(*TINY, "epochs=2", "output_dir=parts")
    for path in parts.folder.glob("last*.safetensors"):
        path.unlink()
    before = (parts.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(
        RunError, match=r"^parts/last\.safetensors is missing: there are 2 epochs in metrics\.jsonl and no state"
    ):
        train(compose(["resume=parts", "epochs=4"])[0])
    assert (parts.folder / "metrics.jsonl").read_bytes() == before


def test_a_kill_between_any_two_files_of_a_save_costs_nothing(monkeypatch):
    """Before each replacement the folder is copied as a kill would leave it."""
    real, record, moments = Path.replace, Path("whole/metrics.jsonl"), []

    def replace(path, target):
        if record.is_file() and len(record.read_text().splitlines()) == 2:
            moments.append((Path(f"killed-{len(moments)}"), Path(target).name))
            shutil.copytree("whole", moments[-1][0])
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        whole = quick(*TINY, "epochs=2", "output_dir=whole")
    names = [
        "best.previous.safetensors",
        "best.safetensors",
        "best.json",
        "last.previous.safetensors",
        "last.safetensors",
        "hits.json",
        "result.json",
    ]
    assert [name for _, name in moments] == names
    for folder, _ in moments:
        train(compose([f"resume={folder}"])[0])
        same_run(whole.folder, folder)
        assert read_outcome(folder).state == "finished"


@dataclass
class Trouble:
    """A disk with one kind of fault: `begin` and `end` are called between two epochs."""

    begin: object
    end: object
    says: str


@contextlib.contextmanager
def full_disk(folder):
    with tmpfs(folder):
        yield Trouble(lambda: fill(folder), (folder / "filler").unlink, "No space left on device")


@contextlib.contextmanager
def read_only(folder):
    """Mount the run's folder read-only. The open lock of the run keeps the disk itself writable."""
    run = folder / "run"

    def begin():
        subprocess.run(["mount", "--bind", run, run], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", run], check=True)

    with tmpfs(folder):
        yield Trouble(begin, lambda: unmount(run), "Read-only file system")


@contextlib.contextmanager
def file_limit(folder):
    """The file size limit of the process, for users who may not mount."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def end():
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    try:
        yield Trouble(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (700, before[1])), end, "File too large")
    finally:
        end()


@contextlib.contextmanager
def vanished(folder):
    away = folder.with_name("away")
    yield Trouble(lambda: folder.rename(away), lambda: away.rename(folder), "No such file or directory")


@contextlib.contextmanager
def quota(folder):
    """The one fault that needs its own disk: it is reported when the written data are flushed."""
    real = os.fsync

    def exceeded(descriptor):
        raise OSError(122, "Disk quota exceeded")

    def end():
        os.fsync = real

    yield Trouble(lambda: setattr(os, "fsync", exceeded), end, "Disk quota exceeded")
    end()


@contextlib.contextmanager
def tmpfs(folder):
    if not mounted(folder):
        pytest.skip("only root may mount; the process's own limit is tested in its place")
    try:
        yield
    finally:
        unmount(folder)


FAULTS = (full_disk, read_only, file_limit, vanished, quota)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_for_a_while_costs_nothing(fault, in_empty_folder, capsys):
    whole = quick(*TINY, "epochs=5", "output_dir=whole")
    disk = in_empty_folder / "disk"
    with fault(disk) as trouble:
        (run,) = compose(quickly(*TINY, "epochs=5", "output_dir=disk/run"))
        capsys.readouterr()

        def between(epoch):
            {2: trouble.begin, 4: trouble.end}.get(epoch, bool)()
            return False

        train(run, stop=between)
        printed = capsys.readouterr()
        (warning,) = printed.err.splitlines()
        assert warning.startswith("trainer: warning: disk/run/") and f"could not be written: {trouble.says}." in warning
        assert "disk/run can be written again: all is saved" in printed.out
        same_run(whole.folder, disk / "run")
        assert not list(disk.glob("run/.*.writing"))


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_to_the_end_keeps_what_it_had(fault, in_empty_folder, capsys):
    disk = in_empty_folder / "disk"
    with fault(disk) as trouble:
        (run,) = compose(quickly(*TINY, "epochs=4", "output_dir=disk/run"))
        with pytest.raises(
            RunError, match=rf"could not be written: {trouble.says}\. Saved: \d of 4 epochs, in disk/run$"
        ):
            train(run, stop=lambda epoch: epoch == 2 and bool(trouble.begin() and None))
        assert capsys.readouterr().err.count("warning") == 1
        trouble.end()
        assert checkpoint.load(disk / "run" / "last.safetensors").epoch == 2
        epochs = [row["epoch"] for row in metrics(disk / "run")]  # a full disk may have room for a line
        assert len(epochs) >= 2 and epochs == [1, 2, 3, 4][: len(epochs)]
        train(compose(["resume=disk/run"])[0])
        same_run(quick(*TINY, "epochs=4", "output_dir=whole").folder, disk / "run")


@pytest.mark.parametrize("fault", [full_disk, file_limit])
def test_a_log_on_the_disk_that_fails_loses_lines_and_nothing_else(fault, in_empty_folder, monkeypatch):
    """Each run of a study has one in its folder."""
    whole = quick(*TINY, "epochs=5", "output_dir=whole")
    folder = in_empty_folder / "disk" / "run"
    with fault(folder.parent) as trouble:
        folder.mkdir(parents=True)
        (run,) = compose(quickly(*TINY, "epochs=5"))
        (folder / "config.yaml").write_text(yaml.safe_dump(run.tree()))
        (folder / JOB).write_text('{"threads": null, "pruning": null}')

        def with_layer_stats(trainer, config, report):
            if report.epoch == 2:
                trouble.begin()
                fill(folder, "log.txt")
            elif report.epoch == 4:
                trouble.end()
            return report

        monkeypatch.setattr("trainer.run.with_layer_stats", with_layer_stats)
        work(folder)
        assert read_outcome(folder).state == "finished"
        log = (folder / "log.txt").read_text()
        assert " 1/5 " in log and " 3/5 " not in log and "disk/run can be written again: all is saved\n" in log
        same_run(whole.folder, folder)


def test_a_torn_line_of_metrics_is_mended_before_the_next(monkeypatch):
    """A disk that becomes full in the middle of a line."""
    whole = quick(*TINY, "epochs=3", "output_dir=whole")
    (run,) = compose(quickly(*TINY, "epochs=3", "output_dir=run"))
    real, failures = os.fsync, []

    def torn(descriptor):
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if target.name == "metrics.jsonl" and not failures and target.read_bytes().count(b"\n") == 2:
            failures.append(target.stat().st_size)
            os.truncate(target, failures[0] - 30)
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", torn)
    train(run)
    assert failures
    same_run(whole.folder, Path("run"))


def test_what_a_run_that_fails_has_kept_in_memory_is_written_where_it_can_be(monkeypatch):
    """The disk is full until the third validation, in which the run fails."""
    save, validate, full = checkpoint.save, ClassificationTrainer.do_validation, [True]

    def saved(path, state):
        if full:
            raise RunError(f"{path} could not be written: No space left on device")
        save(path, state)

    def validated(self):
        if self.epoch == 3:
            full.clear()
            raise RunError("no longer")
        return validate(self)

    monkeypatch.setattr(checkpoint, "save", saved)
    monkeypatch.setattr(ClassificationTrainer, "do_validation", validated)
    with pytest.raises(RunError, match=r"^no longer\. Saved: 0 of 4 epochs, in run"):
        quick(*TINY, "lr=0.01", "epochs=4", "output_dir=run")
    assert checkpoint.load(Path("run/best.safetensors")).epoch == 2
    assert json.loads(Path("run/best.json").read_text())["epoch"] == 2
    assert not Path("run/last.safetensors").exists()
