"""The test set: nothing that trains can read it, every reading is written down, and the numbers are right."""

import ast
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, clean_environment, compose, interpret, narrow, program, quick, tiny_images
from full_disk import on_a_full_disk
from PIL import Image
from sklearn.metrics import f1_score, top_k_accuracy_score

from trainer.cli import evaluate
from trainer.cli.main import main
from trainer.config.help import options
from trainer.data import sources
from trainer.errors import ConfigError, RunError
from trainer.evaluation import ledger, test_set
from trainer.evaluation.inference import load_network
from trainer.evaluation.ledger import Measurement, Network, append, own_ledger, read_ledger, readings
from trainer.evaluation.test_set import mean_probabilities
from trainer.runtime import files
from trainer.stats.intervals import wilson
from trainer.stats.scores import calibration_error, score
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Best
from trainer.storage.untrusted import read_json
from trainer.study.execute import run_study
from trainer.training.network import build_model

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")
SHORT = (*TINY, "epochs=2")


def small_study() -> Path:
    run_study(interpret(["-m", *SHORT, "lr=0.01,0.03", "seed=0,1"]))
    (folder,) = Path("outputs/sweeps").glob("*")
    return folder


# Sealed


def test_training_and_sweeps_ask_the_built_in_digits_for_the_training_part_only(monkeypatch):
    asked, real = [], sources.digits
    monkeypatch.setattr(
        sources, "digits", lambda place, part, **more: (asked.append(part), real(place, part, **more))[1]
    )
    quick(*SHORT, "output_dir=run")
    small_study()
    run_study(interpret(["-m", *SHORT, "lr=0.1,0.2", "sweep.dry_run=true"]))
    assert set(asked) == {"train"}
    evaluate.main(["run"])
    assert set(asked) == {"train", "test"}


WATCHED = """
import json, sys
from pathlib import Path
def watch(event, arguments):
    if event in ("open", "os.scandir", "os.listdir") and "pictures/test" in str(arguments[0]):
        raise SystemError(f"{event} of the test set: {arguments[0]}")
sys.addaudithook(watch)
from trainer.cli.main import main
for arguments in map(json.loads, sys.argv[1:]):
    assert main(arguments) == 0
"""


@pytest.mark.long
def test_a_run_and_a_study_open_no_file_of_the_test_set(in_empty_folder):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            place = in_empty_folder / "pictures" / part / name
            place.mkdir(parents=True)
            for number in range(10):
                Image.new("RGB", (8, 8), (number * 9, 99 if name == "cat" else 0, 0)).save(place / f"{number}.png")
    setting = ["dataset=image_folder", "data_dir=pictures", "dataset.image_size=8", "batch_size=4", *SHORT[2:]]
    both = [json.dumps([*setting, "output_dir=run"]), json.dumps(["-m", *setting, "lr=0.01,0.02"])]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *both],
        check=False,
        cwd=in_empty_folder,
        capture_output=True,
        text=True,
        env=clean_environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(in_empty_folder.glob("outputs/sweeps/*/*/best.safetensors"))) == 2
    for file in in_empty_folder.glob("pictures/test/*/*.png"):
        file.write_bytes(b"not a picture")
    with pytest.raises(RunError, match=r"pictures/test/cat/0.png cannot be decoded"):
        evaluate.main(["run"])
    assert not own_ledger().exists()


@pytest.mark.long
def test_no_code_leads_from_training_to_the_test_set():
    """One module says "test" to a data set to score it, and nothing that trains or sweeps imports it.

    Another compares the form of an own data set's parts, on request (check-techniques --test-part).
    """
    naming = [
        path.name
        for path in (ROOT / "trainer").rglob("*.py")
        if path.parent.name != "data"
        and any(
            isinstance(node, ast.Constant) and node.value == "test" for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert sorted(naming) == ["dataset.py", "test_set.py"]
    names = [path.stem for path in (ROOT / "trainer" / "study").glob("*.py") if path.stem != "__init__"]
    modules = ["trainer.__main__", "trainer.cli.train", "trainer.run"] + [f"trainer.study.{name}" for name in names]
    script = f"import sys, {', '.join(modules)}; print('trainer.evaluation.test_set' in sys.modules or"
    script += " 'trainer.checking.dataset' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n"


# Numbers


def test_scores_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]], dtype=torch.float64)
    scores = score(probabilities.numpy(), np.array([0, 1, 1, 0]))
    assert scores.confusion.tolist() == [[1, 1], [1, 1]]
    assert (scores.accuracy, scores.correct, scores.images, scores.of_class(0)) == (0.5, 2, 4, 0.5)
    # Each image is alone in its bin: 0.1, 0.6, 0.2 and 0.7 away from being right or wrong.
    assert scores.calibration_error == pytest.approx((0.1 + 0.6 + 0.2 + 0.7) / 4)
    same_bin = torch.tensor([[0.81, 0.19]] * 4)
    assert calibration_error(same_bin.numpy(), np.array([0, 0, 0, 1])) == pytest.approx(0.81 - 0.75)
    two_bins = torch.tensor([[0.81, 0.19], [0.88, 0.12]])  # between them a border of 15 bins, none of 10
    assert calibration_error(two_bins.numpy(), np.array([0, 1])) == pytest.approx((0.19 + 0.88) / 2)
    assert calibration_error(np.eye(2), np.array([0, 1])) == 0
    assert math.isnan(score(probabilities.numpy(), np.array([0, 0, 0, 0])).of_class(1))


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (3, 7), (280, 297), (9999, 10000), (12, 12)])
def test_wilsons_interval_is_scipys(correct, count):
    from scipy.stats import binomtest

    expected = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert wilson(correct / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_an_ensemble_averages_probabilities_not_logits():
    logits = [torch.tensor([[margin, 0.0]], dtype=torch.float64) for margin in (2.0, 2.0, -9.0)]
    assert torch.stack(logits).mean(0).argmax() == 1  # one that is very sure would outvote the two
    expected = (2 / (1 + math.exp(-2)) + 1 / (1 + math.exp(9))) / 3
    assert mean_probabilities([each.softmax(1) for each in logits])[0, 0].item() == pytest.approx(expected)
    assert expected > 0.5


def test_the_printed_numbers_are_those_of_the_network(capsys):
    run = quick(*TINY, "epochs=5", "output_dir=outputs/run").folder
    capsys.readouterr()
    assert evaluate.main([str(run), "why=to see"]) == 0
    images, snapshot = sources.digits(Path(), "test", image_size=8), load_network(run / "best.safetensors")
    with torch.inference_mode():
        predicted = snapshot.network(images.pixels).argmax(1)
    correct = int((predicted == images.labels).sum())
    printed = capsys.readouterr().out
    assert f"Test accuracy        {correct / 297:.2%}  ({correct} of 297 images)" in printed
    sevens = images.labels == 7
    row = [int((predicted[sevens] == label).sum()) for label in range(10)]
    line = next(line for line in printed.splitlines() if line.startswith("7 "))
    assert line.split()[1:] == [*(str(each) if each else "·" for each in row), f"{row[7] / sum(row):.2%}"]
    assert "\x1b" not in printed and max(map(len, printed.splitlines()[:-1])) <= 80
    (reading,) = read_ledger(own_ledger())
    assert (reading.accuracy, reading.images, reading.why) == (correct / 297, 297, "to see")
    assert (reading.networks[0].run, reading.networks[0].checkpoint) == ("outputs/run", snapshot.digest)
    assert reading.data == images.fingerprint and reading.digest in printed


def test_the_metrics_of_the_run_are_measured_on_the_test_images_in_the_same_reading(capsys):
    quick(*SHORT, "lr=0.03", "metric=[macro_f1,top_k_accuracy]", "metric.top_k_accuracy.k=2", "output_dir=run")
    capsys.readouterr()
    assert evaluate.main(["run"]) == 0
    printed = capsys.readouterr().out
    network, images = (
        load_network(Path("run/best.safetensors")),
        test_set.read_part(compose(TINY)[0].dataset, Path(), "test"),
    )
    with torch.inference_mode():
        table = network.network(images.pixels)
    f1 = f1_score(images.labels, table.argmax(1), average="macro")
    top = top_k_accuracy_score(images.labels, table, k=2)
    assert f"Macro f1             {f1:.4f}\n" in printed and f"Top k accuracy       {top:.2%}\n" in printed
    assert len(read_ledger(own_ledger())) == 1


def test_the_matrix_of_ten_long_names_fits_80_columns_and_many_classes_are_listed(capsys):
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "a name far too long")
    scores = score(np.tile(np.eye(10), (1000, 1)), np.arange(10).repeat(1000))
    for table in evaluate._by_class(names, scores):
        evaluate.show_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11 and max(map(len, lines)) <= 80 and "9 a name far …" in lines[-1]
    labels = np.arange(20)
    scores = score(np.eye(20)[(labels + (labels == 3)).clip(max=19)], labels)
    for table in evaluate._by_class([f"class {label}" for label in range(20)], scores):
        evaluate.show_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["class", "3", "1", "0.00%"]  # the worst first
    assert lines[-1].split() == ["class", "3", "class", "4", "1"]


def test_members_and_ensemble_stand_side_by_side(capsys):
    runs = [str(quick(*SHORT, f"seed={seed}", f"output_dir=run{seed}").folder) for seed in range(3)]
    capsys.readouterr()
    evaluate.main(runs)
    printed = capsys.readouterr().out.splitlines()
    images = sources.digits(Path(), "test", image_size=8)
    tables = []
    with torch.inference_mode():
        for run in runs:
            tables.append(load_network(Path(run) / "best.safetensors").network(images.pixels).softmax(1))
    for name, table in (*zip(runs, tables, strict=True), ("ensemble", sum(tables) / 3)):
        accuracy = float((table.argmax(1) == images.labels).double().mean())
        line = next(line for line in printed if line.startswith(f"{name} "))
        assert line.split()[1] == f"{accuracy:.2%}"
        assert line.split()[-1] == f"{calibration_error(table.numpy(), images.labels.numpy()):.2%}"
    (reading,) = read_ledger(own_ledger())
    assert reading.ensemble is not None and reading.ensemble["members"] == 3
    assert reading.accuracy == reading.ensemble["accuracy"] == accuracy


# The ledger


def test_a_second_reading_says_so_and_a_study_counts_its_readings(capsys):
    study = small_study()
    first, second, *_ = sorted(study.glob("lr-*"))
    evaluate.main([str(first)])
    assert "this is reading" not in capsys.readouterr().err
    evaluate.main([str(second)])  # another run of the same study
    accuracy = read_ledger(own_ledger())[0].accuracy
    assert capsys.readouterr().err.startswith(
        f"trainer: warning: this is reading 2 of the test set for study lr_seed-{study.name[-8:]}"
        f" (before: {accuracy:.2%} on 20"
    )
    assert [reading.number for reading in readings(study)] == [1, 2]
    lone = quick(*SHORT, "output_dir=lone").folder
    evaluate.main([str(lone)])
    assert capsys.readouterr().err == ""
    copy = Path("copy.safetensors")
    copy.write_bytes((lone / "best.safetensors").read_bytes())
    evaluate.main([str(copy)])
    assert "this is reading 2 of the test set for this run" in capsys.readouterr().err
    assert len(readings(study)) == 2
    evaluate.main(["--ledger"])
    printed = capsys.readouterr().out
    assert f"lr_seed-{study.name[-8:]}: 2 readings of the test set\n4 readings, none was changed." in printed
    moved = study.rename(study.with_name("renamed"))
    manifest = read_json(moved / "study.json")
    (moved / "study.json").write_text(json.dumps({**manifest, "name": "renamed"}))
    assert len(readings(moved)) == 2


def test_a_run_is_looked_up_in_the_outputs_it_lies_in(in_empty_folder, monkeypatch):
    run = quick(*SHORT, "output_dir=outputs/run").folder.resolve()
    evaluate.main([str(run)])
    (in_empty_folder / "elsewhere").mkdir()
    monkeypatch.chdir(in_empty_folder / "elsewhere")
    evaluate.main([str(run)])
    assert len(read_ledger(in_empty_folder / own_ledger())) == 2 and not own_ledger().exists()


def written(count: int) -> list[str]:
    """A ledger of so many readings, as lines."""
    for number in range(count):
        networks = (Network(f"run{number}", "0" * 64, None, 0.5, 0.1),)
        append(own_ledger(), Measurement(networks, "data", 10, 0.5, None, None))
    return own_ledger().read_text().splitlines()


TAMPERED = {
    "edited": (lambda lines: [lines[0], lines[1].replace("0.5", "0.9"), *lines[2:]], 2),
    "first edited": (lambda lines: [lines[0].replace("0.5", "0.9"), *lines[1:]], 1),
    "last edited": (lambda lines: [*lines[:3], lines[3].replace("0.5", "0.9")], 4),
    "deleted": (lambda lines: [lines[0], *lines[2:]], 2),
    "first deleted": (lambda lines: lines[1:], 1),
    "last deleted": (lambda lines: lines[:3], 4),
    "all deleted": (lambda lines: [], 1),
    "moved": (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
    "copied": (lambda lines: [*lines, lines[3]], 5),
    "torn": (lambda lines: [*lines[:2], lines[2][:40], lines[3]], 3),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_is_done_to_the_ledger_is_detected_and_named_by_line(how):
    change, line = TAMPERED[how]
    lines = change(written(4))
    own_ledger().write_text("".join(f"{text}\n" for text in lines))
    with pytest.raises(RunError, match=rf"^outputs/test_readings.jsonl, line {line} .*The test set stays closed"):
        read_ledger(own_ledger())


def test_with_a_broken_ledger_nothing_is_evaluated():
    run = quick(*SHORT, "output_dir=run").folder
    lines = written(2)
    own_ledger().write_text(f"{lines[1]}\n")
    with pytest.raises(RunError, match=r"test_readings.jsonl, line 1 .*The test set stays closed"):
        evaluate.main([str(run)])


@pytest.mark.parametrize("content", [b"\xff\n", b" " * 20_000_001])
def test_a_ledger_of_something_else_is_not_read_into_memory(content):
    written(1)
    own_ledger().write_bytes(content)
    with pytest.raises(RunError, match=r"test_readings.jsonl is not as it was written: it is not a text file of lines"):
        read_ledger(own_ledger())


@pytest.mark.parametrize("place", [0, 1, 2, 40])
def test_a_damaged_head_of_the_ledger_is_one_line_and_closes_the_test_set(place):
    written(1)
    head = own_ledger().with_suffix(".head")
    content = bytearray(head.read_bytes())
    content[place] ^= 0x80  # no UTF-8 any more
    head.write_bytes(content)
    with pytest.raises(RunError, match=r"^outputs/test_readings\.\w+\S* .*The test set stays closed"):
        read_ledger(own_ledger())


def test_the_ledger_is_whole_after_a_kill_between_its_two_files(monkeypatch):
    real = files.write_text

    def killed(path, text):
        if path.suffix == ".head" and not text.startswith("0 "):
            raise SystemError("killed here")
        real(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_text", killed)
        with pytest.raises(SystemError):
            written(1)
    assert len(read_ledger(own_ledger())) == 1
    lines = written(1)
    head = own_ledger().with_suffix(".head").read_text()
    written(1)
    own_ledger().with_suffix(".head").write_text(head)
    assert [reading.number for reading in read_ledger(own_ledger())] == [1, 2, 3]
    written(1)
    assert len(read_ledger(own_ledger())) == 4 and own_ledger().read_text().splitlines()[:2] == lines
    own_ledger().with_suffix(".head").unlink()
    with pytest.raises(RunError, match=r"^outputs/test_readings.head is missing"):
        read_ledger(own_ledger())


APPENDING = """
import sys, time
from pathlib import Path
from trainer.storage import checkpoint  # what takes long is loaded before all begin
from trainer.evaluation.ledger import own_ledger, Measurement, Network, append
Path(sys.argv[1]).touch()
while not all(Path(name).exists() for name in "ab"):
    time.sleep(0.001)
for number in range(10):
    networks = (Network(sys.argv[1], "0" * 64, None, 0.5, 0.1),)
    append(own_ledger(), Measurement(networks, "data", 10, 0.5, None, None))
"""


@pytest.mark.long
def test_several_processes_append_at_once_and_none_is_lost(in_empty_folder):
    processes = [
        subprocess.Popen([sys.executable, "-c", APPENDING, name], cwd=in_empty_folder, env=clean_environment())
        for name in "ab"
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    known = read_ledger(own_ledger())
    assert len(known) == 20 and sorted({each.networks[0].run for each in known}) == ["a", "b"]


def test_no_result_is_shown_that_could_not_be_written_down(capsys, monkeypatch):
    run = quick(*SHORT, "output_dir=run").folder
    capsys.readouterr()

    def full(path, text):
        raise RunError(f"{path} could not be written: No space left on device")

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(RunError, match="No space left"):
        evaluate.main([str(run)])
    assert "accuracy" not in capsys.readouterr().out


def test_an_interrupt_does_not_part_the_line_in_the_ledger_from_its_result(capsys, monkeypatch):
    run = quick(*SHORT, "output_dir=run").folder
    capsys.readouterr()

    def interrupted(*arguments):
        reading = append(*arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return reading

    monkeypatch.setattr(test_set, "append", interrupted)
    assert main(["evaluate", str(run)]) == 130
    (reading,) = read_ledger(own_ledger())
    printed = capsys.readouterr().out
    assert f"{reading.accuracy:.2%}" in printed and f"Reading 1 in {own_ledger()}: {reading.digest}" in printed


def test_a_result_that_is_lost_on_its_way_to_the_terminal_is_an_error(in_empty_folder):
    quick(*SHORT, "output_dir=run")
    assert on_a_full_disk("evaluate", "run", cwd=in_empty_folder, stderr="told") == 1
    assert Path("told").read_text() == (
        "trainer: the result is reading 1 in outputs/test_readings.jsonl\n"
        "trainer: standard output could not be written: No space left on device\n"
    )
    assert len(read_ledger(own_ledger())) == 1


def test_where_no_reading_can_be_entered_the_test_set_is_not_read(monkeypatch):
    run = quick(*SHORT, "output_dir=run").folder
    Path("outputs").write_text("a file")
    monkeypatch.setattr(test_set, "_test_images", None)
    with pytest.raises(RunError) as caught:
        evaluate.main([str(run)])
    assert str(caught.value) == (
        "outputs/test_readings.jsonl cannot be written (outputs cannot be created: File exists), and no test set is"
        " read without a line there. The ledger lies in the folder of outputs that holds the run, else in that"
        " of the current folder: start the command where that can be written"
    )


def test_a_ledger_of_others_is_read_without_the_right_to_write(capsys, monkeypatch):
    written(1)

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ledger, "open_regular", forbidden)
    assert evaluate.main(["--ledger"]) == 0
    assert "1 reading, none was changed" in capsys.readouterr().out


# Checkpoints


def models() -> list[str]:
    return [name.removesuffix(" *") for group in ("model",) for name, _ in options(group)]


@pytest.mark.long
@pytest.mark.parametrize("model", models())
@pytest.mark.parametrize("extra", [(), ("normalization=batch", "activation=maxout", "dropout=0.2")])
def test_every_network_is_rebuilt_from_its_checkpoint_alone(model, extra, tmp_path):
    small = [f"model.{option}={value}" for option, value in narrow(model).items()]
    (config,) = compose(["dataset=digits", f"model={model}", *small, *extra])
    images = tiny_images(24, (1, 32, 32))
    digits = type(images)(images.storage, images.labels, tuple("0123"))
    network = build_model(config, digits)
    network.train()(digits.pixels.float() / 255)  # running statistics of its own
    state = Best(config.tree(), list("0123"), [1, 32, 32], epoch=3, model=network.state_dict())
    checkpoint.save(tmp_path / "best.safetensors", state)
    snapshot = load_network(tmp_path / "best.safetensors")
    with torch.inference_mode():
        assert torch.equal(snapshot.network(digits.pixels), network.eval()(digits.pixels))
    assert (snapshot.classes, snapshot.shape, snapshot.epoch) == (tuple("0123"), (1, 32, 32), 3)


def test_the_last_checkpoint_gives_the_average_where_the_run_validates_it():
    run = quick(*SHORT, "regularization=ema", "output_dir=run").folder
    last, best = (load_network(run / name).network.state_dict() for name in ("last.safetensors", "best.safetensors"))
    assert checkpoint.load(run / "best.safetensors").epoch == 2
    assert all(torch.equal(last[name], best[name]) for name in best)


def test_an_average_that_is_not_of_the_network_is_refused():
    run = quick(*SHORT, "regularization=ema", "output_dir=run").folder
    state = checkpoint.load(run / "last.safetensors")
    hooks = {"ema": {**state.trainer["hooks"]["ema"], "module": {}}}
    checkpoint.save(run / "last.safetensors", replace(state, trainer={**state.trainer, "hooks": hooks}))
    with pytest.raises(RunError, match=r"can build: hooks\.ema\.module must hold "):
        load_network(run / "last.safetensors")


def damage(state: Best, how: str) -> Best:
    match how:
        case "interpolation":
            return replace(state, config={**state.config, "optimizer": "${oc.env:HOME}"})
        case "unknown technique":
            return replace(state, config={**state.config, "model": {"name": "os.system"}})
        case "huge":
            model = {**state.config["model"], "hidden": [10**15]}
            return replace(state, config={**state.config, "model": model})
        case "other types":
            return replace(state, model={name: value.double() for name, value in state.model.items()})
        case "missing weight":
            return replace(state, model=dict(list(state.model.items())[1:]))
        case "no weights":
            return replace(state, model={})
        case "shape":
            return replace(state, shape=[1, -8, 8])
        case _:
            return replace(state, classes=["one"])


REFUSED = {
    "interpolation": "optimizer holds an interpolation",
    "unknown technique": "model=os.system (configuration): there is no such model",
    "huge": "can build: size mismatch for 1.",
    "other types": "is torch.float64 where torch.float32 is expected",
    "missing weight": "Missing key(s) in state_dict",
    "no weights": "holds no network that this trainer can build",
    "shape": "shape=[1, -8, 8]: must be",
    "no classes": "classes: must be at least two names",
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_hostile_or_damaged_checkpoint_is_one_line_and_runs_nothing(how, in_empty_folder):
    run = quick(*SHORT, "output_dir=run").folder
    state = checkpoint.load(run / "best.safetensors")
    checkpoint.save(run / "best.safetensors", damage(state, how))
    with pytest.raises(RunError) as caught:
        evaluate.main(["run"])
    assert REFUSED[how] in str(caught.value) and "\n" not in str(caught.value)
    assert not own_ledger().exists()


def test_class_names_of_a_stranger_cannot_command_the_terminal():
    run = quick(*SHORT, "output_dir=run").folder
    state = checkpoint.load(run / "best.safetensors")
    names = ["\x1b]0;owned\x07", *state.classes[1:]]
    checkpoint.save(run / "best.safetensors", replace(state, classes=names))
    assert load_network(run / "best.safetensors").classes[0] == "?]0;owned?"


def test_other_images_than_those_of_the_training_are_refused():
    run = quick(*SHORT, "output_dir=run").folder
    state = checkpoint.load(run / "best.safetensors")
    checkpoint.save(run / "best.safetensors", replace(state, classes=list("abcdefghij")))
    with pytest.raises(ConfigError) as caught:
        evaluate.main(["run"])
    assert str(caught.value) == (
        "run was trained on images 1×8×8 of 10 classes (a, b, c, …); the test images in data_dir=data are images 1×8×8"
        " of 10 classes (0, 1, 2, …)"
    )
    other = quick(*TINY, "epochs=1", "dataset.image_size=9", "output_dir=other").folder
    with pytest.raises(ConfigError, match=r"^run and other were not trained on the same kind of images$"):
        evaluate.main(["run", str(other)])


# The command

MISTAKES = {
    "": "RUN: is missing. See python -m trainer evaluate --help",
    "nowhere": "nowhere: there is no such run or checkpoint",
    "run run": "run run: a run is named twice",
    "run --wy x": "--wy: there is no such option. Did you mean --why? See python -m trainer evaluate --help",
    "run --ledger": "--ledger lists the readings: leave the runs out",
    "run device=gpu": "argument --device: gpu: must be auto, cpu, mps, cuda or cuda:N. See python -m trainer evaluate"
    " --help",
    "empty": "empty: is not the folder of a run, empty/config.yaml does not exist",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line_before_torch_is_loaded(typed, monkeypatch):
    Path("empty").mkdir()
    Path("run").mkdir()
    Path("run/best.safetensors").touch()
    monkeypatch.setitem(sys.modules, "trainer.evaluation.inference", None)  # importing it would fail
    with pytest.raises(ConfigError) as caught:
        evaluate.main(typed.split())
    assert str(caught.value).startswith(MISTAKES[typed])


def test_exit_codes(in_empty_folder):
    done = program("evaluate", "nowhere", cwd=in_empty_folder)
    assert (done.returncode, done.stdout, done.stderr) == (
        2, "", "trainer: nowhere: there is no such run or checkpoint\n"
    )  # fmt: skip
    written(2)
    own_ledger().write_text(own_ledger().read_text().replace("run0", "run9"))
    done = program("evaluate", "--ledger", cwd=in_empty_folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("trainer: outputs/test_readings.jsonl, line 1 is not as it was written")
    assert program("evaluate", "--help", cwd=in_empty_folder).stdout.startswith("usage: python -m trainer evaluate")


def test_each_line_holds_the_hash_of_the_line_before():
    import hashlib

    lines = written(3)
    before = ["0" * 64, *(hashlib.sha256(line.encode()).hexdigest() for line in lines[:2])]
    assert [json.loads(line)["before"] for line in lines] == before
    assert ledger.read_ledger(own_ledger())[-1].digest == hashlib.sha256(lines[-1].encode()).hexdigest()
