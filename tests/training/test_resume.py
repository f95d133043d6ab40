"""A run that is stopped at any step continues as if it had not been stopped."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import (
    PICTURES,
    QUICK,
    choices,
    clean_environment,
    compose,
    draw_pictures,
    interpret,
    last_of,
    metrics,
    quick,
    tiny_images,
)
from test_checkpoint import same_run
from test_run import same_state

import trainer.run
from trainer.cli.main import main
from trainer.config.check import check
from trainer.config.shell import resume_command
from trainer.data.identity import data_differences
from trainer.errors import Preempted, RunError
from trainer.evaluation.inference import load_network
from trainer.records.code import code_hashes
from trainer.records.outcome import write_outcome
from trainer.records.run_folder import RunFolder
from trainer.run import train
from trainer.runtime.signals import raise_preempted
from trainer.storage import checkpoint
from trainer.storage.untrusted import read_json
from trainer.study.execute import run_study
from trainer.study.folder import read_outcome
from trainer.techniques.remedies import has_momentum
from trainer.training.build import build_trainer

TINY = ("model=mlp", "model.hidden=[16]", "dataset.image_size=8")
DRAWING = (*TINY, "dropout=0.3", "augmentation=[crop,mixup]", "regularization=ema")


def timeless(report):
    return {k: v for k, v in asdict(report).items() if k not in ("epoch_seconds", "images_per_second")}


PAIRED = [each if each == "adam" else pytest.param(each, marks=pytest.mark.long) for each in choices("optimizer")]


@pytest.mark.parametrize("optimizer", PAIRED)
def test_every_pair_that_carries_state_resumes_between_any_two_steps(optimizer, tmp_path):
    """Each scheduler with adam, and those with a memory or a momentum with every optimizer; an average, dropout and
    early stopping; four steps per epoch, stopped after one after the other."""
    tree = compose(
        ["dataset=digits", *DRAWING, "batch_size=10", "epochs=5", "early_stop_patience=2", "lr=0.1", "validate_every=2"]
    )[0].tree()
    tree["optimizer"] = choices("optimizer")[optimizer]
    if optimizer == "schedule_free":  # an average of its own
        tree["regularization"] = {}
    tree["model"]["hidden"] = [16, 16]  # muon has something to do between the first and the last layer
    for number, (name, scheduler) in enumerate(choices("scheduler").items()):
        if optimizer != "adam" and name not in ("plateau", "one_cycle", "cyclic"):
            continue
        fast = {"step_size": 2, "patience": 0, "period": 1.5, "warmup_steps": 3, "min_lr": 0.01}
        fast["cycle_momentum"] = has_momentum(check(tree).optimizer)
        config = check({**tree, "scheduler": {key: fast.get(key, value) for key, value in scheduler.items()}})

        def built(config=config):
            return build_trainer(
                config, tiny_images(40, (1, 8, 8)), tiny_images(12, (1, 8, 8), seed=1), torch.device("cpu")
            )

        whole, first, second = built(), built(), built()
        reports = list(whole.train_loop())
        after, steps = 5 + number % 8, []  # of 20 steps at most
        kept = []
        for report in first.train_loop(pause=lambda steps=steps, after=after: steps.append(1) or len(steps) == after):
            if report is None:
                break
            kept.append(report)
        checkpoint.save(tmp_path / "last.safetensors", last_of(first.state_dict()))
        torch.manual_seed(99)  # another process has drawn other numbers
        second.load_state_dict(checkpoint.load(tmp_path / "last.safetensors").trainer)
        kept += second.train_loop()
        assert [timeless(report) for report in kept] == [timeless(report) for report in reports], name
        assert same_state(whole.state_dict(), second.state_dict()), name
        assert whole.finished and whole.schedule.lr == second.schedule.lr


def test_saves_within_an_epoch_change_nothing_and_are_resumed_from(monkeypatch, capsys):
    """Saved after every step, killed at the 25th save; 19 steps per epoch."""
    quick(*DRAWING, "epochs=3", "output_dir=whole")
    real, saves = checkpoint.save, []

    def killed(path, state):
        saves.append(path.name)
        if len(saves) == 25:
            raise SystemError("killed here")
        real(path, state)

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(SystemError):
        quick(*DRAWING, "epochs=3", "output_dir=parts", "checkpoint_minutes=1e-9")
    monkeypatch.setattr(checkpoint, "save", real)
    assert saves[18:22] == ["last.safetensors", "best.safetensors", "last.safetensors", "last.safetensors"]
    train(compose(["resume=parts", "checkpoint_minutes=null"])[0])
    assert "Folder: parts, continuing after epoch 1, step 3 of the next\n" in capsys.readouterr().out
    same_run(Path("whole"), Path("parts"))


def test_within_an_epoch_it_is_saved_when_the_minutes_are_over_and_not_before(monkeypatch):
    """Each reading of the clock, one per step and one per save, is a second later; 19 steps per epoch."""
    real, saved, seconds = checkpoint.save, [], itertools.count()

    def noted(path, state):
        progress = state.trainer["progress"] if path.name == "last.safetensors" else None
        saved.extend([progress["step"]] if progress else [])
        real(path, state)

    monkeypatch.setattr(checkpoint, "save", noted)
    monkeypatch.setattr("trainer.records.recorder.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    quick(*TINY, "output_dir=run", "epochs=2", "checkpoint_minutes=0.1")
    assert saved == [7, 14, 7, 14]
    saved.clear()
    quick(*TINY, "output_dir=never", "epochs=2", "checkpoint_minutes=null")
    assert saved == []


def test_a_run_recorded_before_a_setting_existed_continues():
    quick(*TINY, "output_dir=run")
    path, last = Path("run/config.yaml"), Path("run/last.safetensors")
    text = path.read_text().partition("# checksum")[0]
    path.write_text(text.replace("deterministic: false\n", ""))
    state = checkpoint.load(last)
    del state.config["deterministic"]
    checkpoint.save(last, state)
    assert train(compose(["resume=run", "epochs=3"])[0]).epochs == 3


def other_pictures(data: Path) -> None:
    for path in (data / "a").glob("*.png"):
        path.write_bytes((data / "b" / path.name).read_bytes())


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: draw_pictures(data, b=20), "18 → 36 training images, 2 → 4 validation images"),
        (lambda data: (data / "a").rename(data / "z"), "classes a, b → b, z"),
        (
            lambda data: draw_pictures(data, c=10),
            "18 → 27 training images, 2 → 3 validation images, classes a, b → a, b, c",
        ),
        (other_pictures, "as many images of each class, with other pixels or labels"),
        (
            lambda data: (data / "a" / "000.png").rename(data / "b" / "x.png"),
            "class a: 9 → 8 training images, class b: 9 → 10 training images",
        ),
    ],
)
def test_a_run_does_not_continue_on_other_data(change, said):
    draw_pictures(Path("data/train"), a=10, b=10)
    assert quick(*PICTURES, "output_dir=run").epochs == 2
    Path("data").rename("moved")  # the same pictures in another place
    assert train(compose(["resume=run", "epochs=3", "data_dir=moved"])[0]).epochs == 3
    change(Path("moved/train"))
    draw_pictures(Path("moved/train"))
    before = Path("run/last.safetensors").read_bytes()
    with pytest.raises(RunError) as caught:
        train(compose(["resume=run", "epochs=4", "data_dir=moved"])[0])
    assert str(caught.value) == (
        f"run: the data in data_dir=moved are not those that it was trained on: {said}. Continue it with the former"
        " data, or train these in another folder"
    )
    assert Path("run/last.safetensors").read_bytes() == before


def test_of_many_classes_those_that_came_and_went_are_named():
    def record(*classes):
        return {"fingerprint": str(classes), "training": dict.fromkeys(classes, 3), "validation": {}}

    many = [f"c{number}" for number in range(20)]
    assert data_differences(record(*many), record(*many[1:], "new")) == ["20 → 20 classes, without c0, with new"]
    with pytest.raises(ValueError, match=r"^provenance.data must hold fingerprint, training, validation$"):
        data_differences([], record("a"))


def test_a_checkpoint_from_before_data_were_recorded_continues():
    quick(*TINY, "output_dir=run")
    last = Path("run/last.safetensors")
    state = checkpoint.load(last)
    assert sum(state.provenance["data"]["training"].values()) == 1200
    checkpoint.save(last, replace(state, provenance={}))
    assert train(compose(["resume=run", "epochs=3"])[0]).epochs == 3
    assert checkpoint.load(last).provenance == state.provenance


def test_a_run_whose_optimizer_was_not_fused_continues_fused():
    quick(*QUICK, "optimizer=adam", "epochs=1", "output_dir=run")
    last = Path("run/last.safetensors")
    state = checkpoint.load(last)
    (group,) = state.trainer["optimizer"]["param_groups"][:1]
    assert group["fused"] is True
    group["fused"] = None  # as it was written before
    checkpoint.save(last, state)
    train(compose(["resume=run", "epochs=2"])[0])
    assert checkpoint.load(last).trainer["optimizer"]["param_groups"][0]["fused"] is True


def test_a_run_that_continues_with_other_threads_warns(capsys):
    quick(*TINY, "output_dir=run", "epochs=1")
    train(compose(["resume=run", "epochs=2"])[0])
    assert "bits" not in capsys.readouterr().err
    path = Path("run/environment.json")
    path.write_text(json.dumps([stamp | {"threads": 7} for stamp in read_json(path)]))
    train(compose(["resume=run", "epochs=3"])[0])
    told = " ".join(capsys.readouterr().err.split())
    assert "on cpu (threads: 1), unlike before: the last bits may differ from those of a run" in told


def test_a_run_that_continues_with_other_code_warns(capsys):
    now = code_hashes(compose(["dataset=digits", *TINY])[0])
    quick(*TINY, "output_dir=run", "epochs=1")
    other = now | {"techniques/activation.py": "0123456789"}
    last, path = Path("run/last.safetensors"), Path("run/environment.json")
    state, stamps = checkpoint.load(last), read_json(path)
    assert state.provenance["code"] == stamps[0]["code"] == now
    checkpoint.save(last, replace(state, provenance=state.provenance | {"code": other}))
    path.write_text(json.dumps([stamps[0] | {"code": other}]))
    load_network(Path("run/best.safetensors"))
    assert " ".join(capsys.readouterr().err.split()) == (
        "trainer: warning: run was trained with other code (techniques/activation.py): with today's its network may"
        " give other answers"
    )
    train(compose(["resume=run", "epochs=2"])[0])
    assert " ".join(capsys.readouterr().err.split()) == (
        "trainer: warning: the run continues with other code of the trainer than before (techniques/activation.py): its"
        " next epochs are not those of a run that was not stopped"
    )
    train(compose(["resume=run", "epochs=3"])[0])  # with the same code again
    load_network(Path("run/best.safetensors"))
    assert capsys.readouterr().err == ""


def sending(monkeypatch, number, step):
    """Send a signal to this process in the given step."""
    real, steps = torch.optim.Adam.step, []

    def counted(self, *arguments):
        steps.append(1)
        if len(steps) == step:
            os.kill(os.getpid(), number)
        return real(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", counted)
    return steps


def left_with(monkeypatch, *arguments):
    """Return the exit code of the program, run in this process, and restore its signal handlers."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    typed = {word.partition("=")[0]: word for word in (*QUICK, *DRAWING, *arguments)}  # each setting once
    monkeypatch.setattr(sys, "argv", ["trainer", *typed.values()])
    try:
        return main()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@pytest.mark.parametrize(
    ("number", "code", "by"),
    [(signal.SIGTERM, 75, " by SIGTERM"), (signal.SIGUSR1, 75, " by SIGUSR1"), (signal.SIGINT, 130, "")],
)
def test_a_signal_saves_at_the_next_step(number, code, by, monkeypatch, capsys):
    quick(*DRAWING, "epochs=3", "output_dir=whole")
    steps = sending(monkeypatch, number, 30)
    assert (left_with(monkeypatch, "epochs=3", "output_dir=parts"), len(steps)) == (code, 30)
    line = f"Stopped{by}. Saved: 1 of 3 epochs and 11 steps. To continue: python -m trainer resume=parts"
    printed = capsys.readouterr()
    assert (printed.out.splitlines()[-1], printed.err) == (line, "")
    ended = read_json(Path("parts/result.json"))
    assert ended == {"state": "interrupted", "reason": f"stopped{by or ' by the user'}"}
    train(compose(["resume=parts"])[0])
    same_run(Path("whole"), Path("parts"))
    ended = read_json(Path("parts/result.json"))
    assert (ended.pop("state"), ended.pop("reason")) == ("finished", None) and ended.keys() == {"train_eval_accuracy"}


def killing(monkeypatch, owner, name, number):
    """Send a signal to this process before a function is called, each time."""
    real = getattr(owner, name)

    def called(*arguments, **options):
        os.kill(os.getpid(), number)
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize(
    ("name", "saved"),
    [("Recorder", "0 of 2 epochs"), ("introduce", "0 of 2 epochs"), ("print_summary", "")],
)
@pytest.mark.parametrize(("number", "code", "by"), [(signal.SIGTERM, 75, " by SIGTERM"), (signal.SIGINT, 130, "")])
def test_a_signal_in_the_first_and_last_moments_leaves_an_outcome(name, saved, number, code, by, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        killing(patch, trainer.run, name, number)
        if number == signal.SIGTERM:
            killing(patch, RunFolder, "progress", number)  # again, while the first one is reported
        assert left_with(patch, "epochs=2", "output_dir=parts") == code
    ended = read_json(Path("parts/result.json"))
    assert (ended["state"], ended["reason"]) == (
        ("interrupted", f"stopped{by or ' by the user'}") if saved else ("finished", None)
    )
    told = capsys.readouterr()
    hint = f". To continue: {resume_command(Path('parts'))}" if saved else ""
    assert (told.out.splitlines()[-1], told.err) == (f"Stopped{by}. Saved: {saved or '2 of 2 epochs'}{hint}", "")
    assert train(compose(["resume=parts"])[0]).epochs == 2
    assert read_json(Path("parts/result.json"))["state"] == "finished"


@pytest.mark.long
def test_a_warning_while_torch_is_imported_is_handled(in_empty_folder):
    command = [sys.executable, "-m", "trainer", *QUICK, "output_dir=run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment())
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "libtorch" not in maps.read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert told == "trainer: stopped by SIGTERM. No training was running\n"
    assert process.returncode == 75 and not Path("run").exists()


def test_a_signal_after_the_last_epoch_stops_nothing():
    (run,) = compose([*QUICK, *TINY, "output_dir=run"])
    result = train(run, stop=lambda epoch: epoch == 2 and bool(os.kill(os.getpid(), signal.SIGUSR1)))
    assert (result.epochs, result.stopped) == (2, False)


def test_a_preempted_study_says_so_and_continues_by_the_same_command(monkeypatch, capsys):
    arguments = ["-m", *QUICK, *TINY, "lr=0.01,0.02"]
    sending(monkeypatch, signal.SIGTERM, 70)
    with pytest.raises(Preempted):
        run_study(interpret(arguments))
    assert "Stopped: 1 of 2 runs ended. The same command continues from here" in capsys.readouterr().out
    folders = sorted(Path("outputs/sweeps").glob("*/lr-*"))
    outcomes = [read_outcome(folder) for folder in folders]
    assert [(each.state, each.reason) for each in outcomes] == [
        ("finished", None),
        ("interrupted", "stopped by SIGTERM"),
    ]
    first = outcomes[1]
    assert first.seconds > sum(row["epoch_seconds"] for row in metrics(folders[1])) > 0
    # As if SIGKILL had ended it: nothing was written then, and its epoch had taken 50 s.
    write_outcome(folders[1], replace(first, state="running", seconds=0.0))
    rows = [{**row, "epoch_seconds": 50.0} for row in metrics(folders[1])]
    (folders[1] / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_study(interpret(arguments)).exit_code == 0
    assert len(rows) == 1 and 50 < read_outcome(folders[1]).seconds < 80
    assert [(each.state, each.starts) for each in map(read_outcome, folders)] == [("finished", 1), ("finished", 2)]
    calm = quick(*TINY, "lr=0.02", "output_dir=calm")
    same_run(calm.folder, folders[1])


def test_a_signal_after_the_last_step_of_a_run_stops_its_study(monkeypatch, capsys):
    def struck(trainer, config, report):
        os.kill(os.getpid(), signal.SIGINT)
        return report

    monkeypatch.setattr("trainer.run.with_layer_stats", struck)
    with pytest.raises(KeyboardInterrupt):
        run_study(interpret(["-m", *QUICK[:-1], *TINY, "epochs=1", "lr=0.01,0.02"]))
    assert "Stopped: 1 of 2 runs ended. The same command continues from here" in capsys.readouterr().out
    outcomes = [read_outcome(folder) for folder in sorted(Path("outputs/sweeps").glob("*/lr-*"))]
    assert [(each.state, each.epochs) for each in outcomes] == [("finished", 1), ("queued", 0)]


SIGNALLED = """
import os, signal, sys
from trainer.runtime.signals import defer_signals
with defer_signals() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    print("goes on to the end of the step:", bool(stop), flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("still here")
"""


def test_a_second_ctrl_c_stops_at_once():
    done = subprocess.run([sys.executable, "-c", SIGNALLED], check=False, capture_output=True, env=clean_environment())
    assert (done.returncode, done.stdout) == (130, b"goes on to the end of the step: True\n")
    assert done.stderr == b"trainer: stopped at once by a second Ctrl-C. The last saved state is kept\n"


def test_a_signal_before_the_first_step_is_reported(monkeypatch, capsys):
    monkeypatch.setattr("trainer.run.load", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert left_with(monkeypatch, "output_dir=run") == 75
    assert capsys.readouterr().err == "trainer: stopped by SIGTERM. No training was running\n"


def test_a_signal_that_a_launcher_handles_is_left_to_it(monkeypatch):
    """submitit ignores SIGTERM, which Slurm sends along with its own warning."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        sending(monkeypatch, signal.SIGTERM, 5)
        assert quick(*TINY, "output_dir=run").epochs == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def test_while_nothing_trains_a_warning_ends_the_program_with_the_same_code():
    with pytest.raises(Preempted, match="SIGUSR1") as caught:
        raise_preempted(signal.SIGUSR1, None)
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_weights_that_lie_channels_last_resume_to_the_same_bits(optimizer, tmp_path):
    """A file keeps no order of the axes; a fused step goes over weights and moments in the order of the memory."""
    (config,) = compose(["dataset=digits", f"optimizer={optimizer}", "batch_size=20", "epochs=4", "device=cpu"])

    def built():
        trainer = build_trainer(config, tiny_images(40), tiny_images(12, seed=1), torch.device("cpu"))
        trainer.model.to(memory_format=torch.channels_last)
        return trainer

    whole, first, second = built(), built(), built()
    list(whole.train_loop())
    next(first.train_loop())
    checkpoint.save(tmp_path / "last.safetensors", last_of(first.state_dict()))
    second.load_state_dict(checkpoint.load(tmp_path / "last.safetensors").trainer)
    list(second.train_loop())
    assert any(not weight.is_contiguous() for weight in second.model.parameters())
    assert same_state(whole.state_dict(), second.state_dict())
