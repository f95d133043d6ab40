"""Files under fault: torn, altered, a full disk, a folder that is read-only or gone; what was there stays whole."""

import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from conftest import QUICK, compose, metrics, quick, timeless
from full_disk import fill, mounted, unmount
from test_run import same_state

from trainer.errors import RunError
from trainer.records.layout import JOB
from trainer.records.outcome import read_outcome
from trainer.run import train
from trainer.storage import checkpoint
from trainer.storage.checkpoint import DamagedError, previous
from trainer.study.worker import work
from trainer.training.trainer import ClassificationTrainer

TINY = ("model=mlp", "model.hidden=[256]", "dataset.image_size=8", "optimizer=momentum", "augmentation=crop")


def same_run(one: Path, other: Path) -> None:
    """All that two runs came to, but for times and the folder's name."""
    for name in ("best.pt", "last.pt"):
        states = [checkpoint.load(folder / name) for folder in (one, other)]
        assert same_state(*({key: state[key] for key in state if key != "config"} for state in states)), name
    assert timeless(one) == timeless(other)
    assert (one / "best.json").read_text() == (other / "best.json").read_text()


def test_a_checkpoint_ends_with_the_sha256_of_what_stands_before_it(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"value": torch.arange(3)})
    content = path.read_bytes()
    assert content[-71:] == b"sha256 " + hashlib.sha256(content[:-71]).hexdigest().encode()
    assert torch.load(path, weights_only=True)["value"].tolist() == [0, 1, 2]  # and it is torch's own format


def test_every_altered_byte_and_every_torn_end_is_noticed(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"value": torch.randn(20)})
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match=rf"^{path} (is torn or altered|cannot be read as a checkpoint)"):
            checkpoint.load(path)
    for length in range(0, len(content), 41):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            checkpoint.load(path)


def test_a_file_without_its_checksum_is_refused(tmp_path):
    path = tmp_path / "last.pt"
    torch.save({"format_version": checkpoint.FORMAT_VERSION, "value": 1}, path)
    with pytest.raises(DamagedError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == f"{path} is torn or altered: its checksum is missing"


@pytest.mark.parametrize("linked", [True, False])
def test_the_previous_one_is_kept_and_offered(linked, tmp_path, monkeypatch):
    """Also where a file cannot have a second name."""
    path = tmp_path / "best.pt"
    if not linked:
        monkeypatch.setattr(os, "link", refusing(PermissionError(1, "Operation not permitted")))
    for value in (1, 2, 3):
        checkpoint.save(path, {"value": value})
    assert (checkpoint.load(path)["value"], checkpoint.load(previous(path))["value"]) == (3, 2)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedError, match=rf"\. The one before it is whole: {tmp_path}/best\.previous\.pt$"):
        checkpoint.load(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best.previous.pt", "best.pt"]


def refusing(error):
    def refuse(*_):
        raise error

    return refuse


def test_what_cannot_be_read_back_replaces_nothing(tmp_path, monkeypatch):
    """A disk that tells of no error and keeps other bytes."""
    path, real = tmp_path / "last.pt", os.fsync
    for value in (1, 2):
        checkpoint.save(path, {"value": value})

    def rot(descriptor):
        os.pwrite(descriptor, b"?", 99)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", rot)
    with pytest.raises(RunError, match="is torn or altered: its checksum does not fit"):
        checkpoint.save(path, {"value": 3})
    assert (checkpoint.load(path)["value"], checkpoint.load(previous(path))["value"]) == (2, 1)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("loss", ["torn", "gone"])
def test_resume_goes_on_from_the_previous_one_and_comes_to_the_same_bits(loss, capsys):
    whole, parts = quick(*TINY, "epochs=4", "output_dir=whole"), quick(*TINY, "epochs=3", "output_dir=parts")
    path, leftover = parts.folder / "last.pt", parts.folder / ".best.pt.1.writing"
    leftover.write_bytes(b"half")  # of a kill in mid-write
    told = ("parts/last.pt is gone", " Going on from the one before it, parts/last.previous.pt\n")
    if loss == "torn":
        path.write_bytes(path.read_bytes()[:2000])
        told = (
            "parts/last.pt cannot be read as a checkpoint: ",
            " The one before it is whole: parts/last.previous.pt. Going on from there\n",
        )
    else:
        path.unlink()
    train(compose(["resume=parts", "epochs=4"])[0])
    printed = capsys.readouterr()
    assert printed.err.startswith(f"trainer: warning: {told[0]}") and printed.err.endswith(told[1])
    assert "Folder: parts, going on after epoch 2\n" in printed.out
    same_run(whole.folder, parts.folder)
    assert not leftover.exists()


def test_a_run_of_which_no_checkpoint_is_left_keeps_its_record():
    parts = quick(*TINY, "epochs=2", "output_dir=parts")
    for path in parts.folder.glob("last*.pt"):
        path.unlink()
    before = (parts.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"^parts/last\.pt is gone: of the 2 epochs in metrics\.jsonl nothing is left"):
        train(compose(["resume=parts", "epochs=4"])[0])
    assert (parts.folder / "metrics.jsonl").read_bytes() == before


def test_a_kill_between_any_two_files_of_a_save_costs_nothing(monkeypatch):
    """Before each of them takes its place the folder is copied, as a kill would leave it."""
    real, record, moments = Path.replace, Path("whole/metrics.jsonl"), []

    def replace(path, target):
        if record.is_file() and len(record.read_text().splitlines()) == 2:
            moments.append((Path(f"killed-{len(moments)}"), Path(target).name))
            shutil.copytree("whole", moments[-1][0])
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        whole = quick(*TINY, "epochs=2", "output_dir=whole")
    names = ["best.previous.pt", "best.pt", "best.json", "last.previous.pt", "last.pt", "result.json"]
    assert [name for _, name in moments] == names
    for folder, _ in moments:
        train(compose([f"resume={folder}"])[0])
        same_run(whole.folder, folder)
        assert read_outcome(folder).state == "finished"


@dataclass
class Trouble:
    """A disk that fails in a way of its own: `begin` and `end` are called between two epochs."""

    begin: object
    end: object
    says: str


@contextlib.contextmanager
def full_disk(folder):
    with tmpfs(folder):
        yield Trouble(lambda: fill(folder), (folder / "filler").unlink, "No space left on device")


@contextlib.contextmanager
def read_only(folder):
    """The run's folder, as a mount of its own: its lock is open for writing, and keeps the disk itself writable."""
    run = folder / "run"

    def begin():
        subprocess.run(["mount", "--bind", run, run], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", run], check=True)

    with tmpfs(folder):
        yield Trouble(begin, lambda: unmount(run), "Read-only file system")


@contextlib.contextmanager
def file_limit(folder):
    """The one of the process, for those who may not mount."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def end():
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    yield Trouble(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (700, before[1])), end, "File too large")
    end()


@contextlib.contextmanager
def vanished(folder):
    away = folder.with_name("away")
    yield Trouble(lambda: folder.rename(away), lambda: away.rename(folder), "No such file or directory")


@contextlib.contextmanager
def quota(folder):
    """The one fault that takes a disk of its own: told when what was written is flushed."""
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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_for_a_while_costs_nothing(fault, in_empty_folder, capsys):
    whole = quick(*TINY, "epochs=5", "output_dir=whole")
    disk = in_empty_folder / "disk"
    with fault(disk) as trouble:
        (run,) = compose([*QUICK, *TINY, "epochs=5", "output_dir=disk/run"])
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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_to_the_end_keeps_what_it_had(fault, in_empty_folder, capsys):
    disk = in_empty_folder / "disk"
    with fault(disk) as trouble:
        (run,) = compose([*QUICK, *TINY, "epochs=4", "output_dir=disk/run"])
        with pytest.raises(
            RunError, match=rf"could not be written: {trouble.says}\. Saved: \d of 4 epochs, in disk/run$"
        ):
            train(run, stop=lambda epoch: epoch == 2 and bool(trouble.begin() and None))
        assert capsys.readouterr().err.count("warning") == 1
        trouble.end()
        assert checkpoint.load(disk / "run" / "last.pt")["trainer"]["epoch"] == 2
        epochs = [row["epoch"] for row in metrics(disk / "run")]  # a full disk may have room for a line
        assert len(epochs) >= 2 and epochs == [1, 2, 3, 4][: len(epochs)]
        train(compose(["resume=disk/run"])[0])
        same_run(quick(*TINY, "epochs=4", "output_dir=whole").folder, disk / "run")


@pytest.mark.parametrize("fault", [full_disk, file_limit])
def test_a_log_on_the_disk_that_fails_loses_lines_and_nothing_else(fault, in_empty_folder, monkeypatch):
    """Every run of a study has one, in its folder."""
    whole = quick(*TINY, "epochs=5", "output_dir=whole")
    folder = in_empty_folder / "disk" / "run"
    with fault(folder.parent) as trouble:
        folder.mkdir(parents=True)
        (run,) = compose([*QUICK, *TINY, "epochs=5"])
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
    """A disk that is full in the middle of a line."""
    whole = quick(*TINY, "epochs=3", "output_dir=whole")
    (run,) = compose([*QUICK, *TINY, "epochs=3", "output_dir=run"])
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
    assert checkpoint.load(Path("run/best.pt"))["epoch"] == json.loads(Path("run/best.json").read_text())["epoch"] == 2
    assert not Path("run/last.pt").exists()
