"""One run from the command to its record: files, resume, Ctrl-C, exit codes, the depth of the call."""

import inspect
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import is_dataclass, replace
from pathlib import Path

import pytest
import torch
import yaml
from conftest import QUICK, ROOT, TINY, clean_environment, compose, last_of, metrics, program, quick, timeless

import trainer.run
from trainer.cli import doctor, evaluate, reproduce
from trainer.errors import ConfigError, RunError
from trainer.run import train
from trainer.storage import checkpoint
from trainer.storage.encoding import UnstorableError
from trainer.storage.untrusted import read_json

KEYS = ["epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr", "epoch_seconds"]


def same_state(one, other):
    """Return whether two trees of dictionaries, lists and tensors are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_state(one[key], other[key]) for key in one)
    if is_dataclass(one):
        return type(one) is type(other) and same_state(vars(one), vars(other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_state, one, other))
    return one == other or repr(one) == repr(other) == "nan"


def test_a_run_leaves_its_record(in_empty_folder):
    result = quick("output_dir=here", "optimizer=momentum", "validate_every=2", "epochs=3")
    folder = in_empty_folder / "here"
    assert result.folder == Path("here")
    kept = [
        ".lock",
        "best.json",
        "best.previous.safetensors",
        "best.safetensors",
        "config.yaml",
        "environment.json",
        "hits.json",
        "last.previous.safetensors",
        "last.safetensors",
    ]
    names = {p.name for p in folder.iterdir()} - {"changes.patch"}  # of a checkout that is not committed
    assert sorted(names) == [*kept, "metrics.jsonl", "result.json"]
    rows = metrics(folder)
    assert all(set(KEYS) <= set(row) for row in rows)
    assert [row["validation_loss"] is None for row in rows] == [True, False, False]
    assert 0 < rows[1]["validation_accuracy"] < 1
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["optimizer"] == {"name": "momentum", "momentum": 0.9, "dampening": 0.0, "form": "torch"}
    (stamp,) = read_json(folder / "environment.json")
    assert stamp["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert (stamp["device"], stamp["seed"], len(stamp["run_id"])) == ("cpu", 0, 8)
    best = checkpoint.load(folder / "best.safetensors")
    assert (best.epoch, best.classes, best.shape) == (result.best_epoch, list("0123456789"), [1, 32, 32])
    assert best.config == config | {"output_dir": "here"}


@pytest.mark.long
def test_the_digits_are_learnt(in_empty_folder):
    assert quick("epochs=30").best_validation_accuracy >= 0.965


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    runs = [quick("epochs=1", f"output_dir={name}", f"seed={seed}") for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    states = [checkpoint.load(run.folder / "last.safetensors").trainer for run in runs]
    assert same_state(states[0], states[1])
    assert not same_state(states[0]["model"], states[2]["model"])
    assert timeless(runs[0].folder) == timeless(runs[1].folder)


TECHNIQUES = ("augmentation=[flip,crop]", "dropout=0.3", "scheduler=plateau", "regularization=ema", "optimizer=adam")


def test_a_run_resumed_after_every_epoch_equals_an_undisturbed_one_bit_for_bit():
    quick(*TINY, "output_dir=whole", "epochs=4", *TECHNIQUES)
    quick(*TINY, "output_dir=parts", "epochs=1", *TECHNIQUES)
    for epochs in (2, 3, 4):
        (run,) = compose(["resume=parts", f"epochs={epochs}"])
        train(run)
    for name in ("best.safetensors", "last.safetensors"):
        whole, parts = (replace(checkpoint.load(Path(folder) / name), config={}) for folder in ("whole", "parts"))
        assert same_state(whole, parts), name
    assert timeless(Path("whole")) == timeless(Path("parts"))


def test_a_kill_between_the_metrics_and_the_checkpoint_loses_and_repeats_nothing(monkeypatch):
    quick(*TINY, "output_dir=whole", "epochs=3")
    real = checkpoint.save

    def killed(path, state):
        if path.name == "last.safetensors" and state.epoch == 2:
            raise SystemError("killed here")
        real(path, state)

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(SystemError):
        quick(*TINY, "output_dir=killed", "epochs=3")
    monkeypatch.setattr(checkpoint, "save", real)
    with Path("killed/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')  # a torn last line
    train(compose(["resume=killed"])[0])
    assert timeless(Path("killed")) == timeless(Path("whole"))
    assert [row["epoch"] for row in metrics(Path("killed"))] == [1, 2, 3]


def test_resume_changes_only_what_it_may(capsys):
    quick(*TINY, "output_dir=run", "optimizer=sgd")
    with pytest.raises(ConfigError) as caught:
        compose(["resume=run", "lr=0.1"])
    assert str(caught.value) == (
        "lr: a resumed run keeps its settings. Accepted with resume=: epochs, unfit_augmentation, device,"
        " cuda_graph, layer_stats_every, early_stop_patience, checkpoint_minutes, data_dir, output_root,"
        " tensorboard, wandb"
    )
    (run,) = compose(["resume=run", "epochs=3", "wandb.name=again"])
    assert (run.optimizer.name, run.epochs, run.wandb.name, run.wandb.mode) == ("sgd", 3, "again", "disabled")
    train(compose(["resume=run"])[0])
    assert (
        "run is complete: 2 of 2 epochs. To train further: python -m trainer resume=run epochs=4"
        in capsys.readouterr().out
    )


def test_an_early_stopped_run_says_so_and_how_to_continue(capsys):
    result = quick(*TINY, "output_dir=run", "epochs=9", "early_stop_patience=1", "early_stop_min_delta=10.0")
    assert result.epochs == 2
    printed = capsys.readouterr().out
    assert "Stopped early: 1 validation without progress." in printed
    assert "python -m trainer resume=run early_stop_patience=null" in printed
    (run,) = compose(["resume=run", "early_stop_patience=null", "epochs=3"])
    assert train(run).epochs == 3


def test_a_damaged_checkpoint_is_named(tmp_path):
    quick(*TINY, "output_dir=run")
    path = Path("run/last.safetensors")
    checkpoint.previous(path).unlink()
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(RunError, match=r"^run/last.safetensors is incomplete or altered: its checksum does not match$"):
        train(compose(["resume=run", "epochs=3"])[0])
    shutil.copy("run/best.safetensors", path)
    with pytest.raises(RunError) as caught:
        train(compose(["resume=run", "epochs=3"])[0])
    assert (
        str(caught.value) == "run/last.safetensors holds the network of an epoch, where the state of a run is expected"
    )


def test_a_checkpoint_of_an_earlier_version_is_named_by_whatever_looks_for_one(in_empty_folder):
    quick(*TINY, "output_dir=run")
    path = Path("run/best.safetensors")
    shutil.copy(path, "now.safetensors")
    for name in ("last", "best"):
        Path(f"run/{name}.safetensors").unlink()
        torch.save({"format_version": 2}, f"run/{name}.pt")
    Path("run/last.previous.safetensors").unlink()
    sentence = "was written by an earlier version (format 2), which this one does not read: train the run again"
    for name, act in {
        "last": lambda: train(compose(["resume=run", "epochs=3"])[0]),
        "best": lambda: evaluate.main(["run"]),
        "best ": lambda: checkpoint.load(path),
        "best  ": lambda: evaluate.main(["run/best.pt"]),
        "last ": lambda: reproduce.main(["run"]),
        "last  ": lambda: doctor.main(["run"]),
    }.items():
        with pytest.raises(RunError) as caught:
            act()
        assert str(caught.value) == f"run/{name.strip()}.pt {sentence}"
    Path("now.safetensors").rename(path)
    assert checkpoint.load(path).epoch in (1, 2)  # the earlier file does not matter beside it


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint.save(path, last_of({"epoch": 1}))
    with pytest.raises(UnstorableError, match="value cannot be saved: it is of type function"):
        checkpoint.save(path, last_of({"epoch": 2, "value": lambda: None}))
    assert checkpoint.load(path).epoch == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_a_folder_that_holds_something_is_refused_before_data_is_read():
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("do not touch")
    with pytest.raises(ConfigError) as caught:
        quick("output_dir=mine", "dataset=image_folder", "data_dir=nowhere")
    assert str(caught.value) == "output_dir=mine: is not empty. Name another folder"
    assert [p.name for p in Path("mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("key", ["data_dir", "output_dir", "resume"])
def test_an_unknown_home_folder_is_reported(key):
    with pytest.raises(ConfigError) as caught:
        quick(f'{key}="~nobody-at-all/x"')
    assert str(caught.value) == "~nobody-at-all/x: ~nobody-at-all is nobody's home folder on this machine"
    assert list(Path().iterdir()) == []


def test_the_remains_of_a_kill_before_the_first_file_are_no_run():
    Path("run").mkdir()
    Path("run/.lock").write_text("")
    Path("run/.config.yaml.17.writing").write_text("epo")
    assert quick(*TINY, "output_dir=run").epochs == 2


def test_a_run_killed_before_the_first_save_continues(monkeypatch):
    def killed(*_):
        raise SystemError("killed here")

    with monkeypatch.context() as patched, pytest.raises(SystemError):
        patched.setattr("trainer.records.run_folder.stamp", killed)
        quick(*TINY, "output_dir=run")
    assert train(compose(["resume=run"])[0]).epochs == 2


def test_ctrl_c_during_the_search_for_the_cause_keeps_the_message(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.run, "find_first_nonfinite", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        quick(*TINY, "lr=1e30", "output_dir=run")
    assert caught.value.reported
    assert "warning: the training loss is nan in epoch 1, step 2 of 19" in capsys.readouterr().err
    noted = read_json(Path("run/result.json"))
    assert (noted["state"], noted["reason"].partition(" in ")[0]) == ("failed", "the training loss is nan")


def test_the_message_of_a_complete_run_has_a_command_that_trains_further(capsys):
    """Early stopping is exhausted in the very last epoch: both settings must change."""
    stopping = ("early_stop_patience=1", "early_stop_min_delta=10.0")
    quick(*TINY, *stopping, "output_dir=run")
    command = capsys.readouterr().out.partition("To train further")[2].split(maxsplit=3)[3].split()
    assert command == ["resume=run", "early_stop_patience=null", "epochs=4"]
    assert train(compose(command)[0]).epochs == 4
    assert train(compose(["resume=run", "epochs=3"])[0]).epochs == 4  # fewer than it has
    assert read_json(Path("run/result.json"))["reason"] == "training was limited to this number of epochs"


def test_runs_of_the_same_second_get_folders_of_their_own(monkeypatch):
    import trainer.records.run_folder

    class Stopped(trainer.records.run_folder.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(trainer.records.run_folder, "datetime", Stopped)
    names = [quick(*TINY, "epochs=1").folder.name for _ in range(3)]
    stem = "2026-01-02_03-04-05_digits_mlp_adam"
    assert names == [stem, f"{stem}_2", f"{stem}_3"]


def test_a_run_that_fails_is_one_line_with_exit_code_1(in_empty_folder):
    done = program(*QUICK, "lr=1e30", "output_dir=run", cwd=in_empty_folder)
    assert done.returncode == 1
    assert done.stderr == (
        "trainer: the training loss is nan in epoch 1, step 2 of 19 (learning rate about 1e+30); first not finite: the"
        " output of convolution 2 of 2, in step 2. A smaller lr, regularization=gradient_clipping or on_nonfinite=skip"
        " usually helps. Saved: 0 of 2 epochs, in run."
        " What may be wrong: python -m trainer doctor run\n"
    )
    ended = read_json(in_empty_folder / "run" / "result.json")
    assert (ended["state"], ended["reason"].partition(" in ")[0]) == ("failed", "the training loss is nan")


def test_in_a_file_there_is_one_plain_line_per_epoch(in_empty_folder):
    done = program(*QUICK, *TINY, "output_dir=run", cwd=in_empty_folder)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:6]] == ["epoch", "1/2", "2/2"]
    assert "\x1b" not in done.stdout and "━" not in done.stdout
    assert lines[-1] == "  To train further     python -m trainer resume=run epochs=4"
    assert max(map(len, lines)) < 130


def test_ctrl_c_keeps_the_last_step_and_says_how_to_continue(in_empty_folder):
    settings = (*QUICK[:-1], *TINY, "epochs=10000", "early_stop_patience=null", "output_dir=run")
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", *settings],
        cwd=in_empty_folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    record = in_empty_folder / "run" / "metrics.jsonl"
    give_up = time.monotonic() + 60
    while not (record.is_file() and record.read_text().count("\n") >= 3) and time.monotonic() < give_up:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    state = checkpoint.load(in_empty_folder / "run" / "last.safetensors").trainer
    step = state["progress"]["step"] if state["progress"] else 0
    within = f" and {step} step{'s' if step > 1 else ''}" if step else ""
    saved = f"{state['epoch']} of 10000 epochs{within}"
    assert state["epoch"] >= 3
    assert out.splitlines()[-1] == f"Stopped. Saved: {saved}. To continue: python -m trainer resume=run"


def test_ctrl_c_while_wandb_finishes_leaves_a_run_that_is_complete(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.run, "_log_results", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(*TINY, "output_dir=run")
    assert capsys.readouterr().out.endswith("\nStopped. Saved: 2 of 2 epochs\n")
    record = read_json(Path("run/result.json"))
    assert (record["state"], record["reason"]) == ("finished", None) and 0 <= record["train_eval_accuracy"] <= 1


def test_five_frames_and_250_lines_lead_from_the_start_to_the_first_step(monkeypatch, in_empty_folder):
    """The loop is easy to find: frames and source lines of the functions called before the first step."""
    from trainer.cli.train import main

    seen = []

    def look(self, *args, **kwargs):
        frames = [frame for frame in inspect.stack() if Path(frame.filename).is_relative_to(ROOT / "trainer")]
        seen.extend((frame.function, len(inspect.getsourcelines(frame.frame.f_code)[0])) for frame in frames)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.Adam, "step", look)
    with pytest.raises(KeyboardInterrupt):
        main(QUICK)
    assert [name for name, _ in seen] == ["train_step", "do_train", "train_loop", "train", "main"]
    assert sum(lines for _, lines in seen) <= 250


def test_a_disk_that_is_full_or_a_folder_that_cannot_be_is_one_line(monkeypatch):
    for folder in ("/dev/null/x", "/dev/full/x"):
        with pytest.raises(ConfigError, match=rf"^{folder} cannot be written: {folder[:-2]} is a file$"):
            quick(f"output_dir={folder}")
    real = os.fsync

    def full(descriptor):
        if "last.safetensors" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        RunError, match=r"^run/last.safetensors could not be written: No space left on device. Saved: 0 of 2"
    ):
        quick(*TINY, "output_dir=run")


def test_a_setting_that_differs_from_the_checkpoint_is_refused():
    quick(*TINY, "output_dir=run", "optimizer=adam")
    path = Path("run/config.yaml")
    text = path.read_text().replace("weight_decay: 0.0", "weight_decay: 0.1")
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"^run/config.yaml: it was edited by hand, or is damaged: .* remove the line"
    ):
        compose(["resume=run", "epochs=3"])
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))  # accepted as it stands
    with pytest.raises(RunError, match=r"run/config.yaml was changed since run/last.safetensors: weight_decay"):
        train(compose(["resume=run", "epochs=3"])[0])


def test_damaged_records_are_named_on_resume():
    quick(*TINY, "output_dir=run")
    record, stamps = Path("run/metrics.jsonl"), Path("run/environment.json")
    good = record.read_text()
    record.write_text("junk\n" + good)
    with pytest.raises(RunError, match=r"^run/metrics.jsonl, line 1 is damaged"):
        train(compose(["resume=run", "epochs=3"])[0])
    record.write_text(good)
    stamps.write_text("{")
    with pytest.raises(RunError, match=r"^run/environment.json is damaged"):
        train(compose(["resume=run", "epochs=3"])[0])


def test_the_command_to_continue_works_for_any_folder(capsys):
    import shlex

    result = quick(*TINY, 'output_dir="a (1), ü"', "epochs=1")
    command = capsys.readouterr().out.partition("To train further")[2].splitlines()[0]
    (run,) = compose(shlex.split(command)[3:])
    assert (run.resume, run.epochs) == (str(result.folder), 2)


def test_a_bug_in_a_technique_is_recorded(monkeypatch):
    def step(self, *rest):
        raise ValueError("odd weights\nand more")

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(ValueError, match="odd weights"):
        quick(*TINY, "output_dir=run")
    noted = read_json(Path("run/result.json"))
    assert (noted["state"], noted["reason"]) == ("failed", "ValueError: odd weights")
