"""The winner of a study, trained on everything and read on the test set once: by hand, after kills, and refused."""

import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import compose, interpret, metrics, program
from PIL import Image
from test_evaluate import TINY
from test_run import same_state

import trainer.records.recorder
from trainer.cli import finalize
from trainer.data import sources
from trainer.data.splits import split
from trainer.errors import ConfigError, RunError
from trainer.evaluation.card import interval
from trainer.evaluation.inference import load_network
from trainer.evaluation.ledger import own_ledger, read_ledger, readings
from trainer.reports.run_content import of_run
from trainer.stats.intervals import wilson
from trainer.storage import checkpoint
from trainer.storage.untrusted import read_json
from trainer.study.execute import run_study
from trainer.study.winner import winner_of

SHORT = (*TINY, "epochs=4", "scheduler=cosine")


def study(*arguments: str) -> Path:
    before = set(Path("outputs/sweeps").glob("*"))
    run_study(interpret(["-m", *arguments]))
    (folder,) = set(Path("outputs/sweeps").glob("*")) - before
    return folder


def card_of(folder: Path) -> dict:
    return json.loads((folder / "finalize.json").read_text())


def test_the_card_holds_the_winner_and_one_reading_for_all_seeds(capsys):
    folder = study(*SHORT, "lr=0.0001,0.03", "seed=0,1")
    best = re.search(r"Best: (\S+)\n  (.*)\n", capsys.readouterr().out)
    typed = [str(folder), "--seeds", "3", "--ensemble", "3", "--device", "cpu", "--why", "it's for the card"]
    assert finalize.main(typed) == 0
    card, (reading,) = card_of(folder), read_ledger(own_ledger())
    assert (card["point"], card["command"], card["seeds"]) == ({"lr": "0.03"}, best[2], [0, 1, 2])
    assert best[1] == "lr=0.03" and shlex.split(card["finalize_command"]) == [
        "python",
        "-m",
        "trainer",
        "finalize",
        *typed,
    ]
    images = sources.digits(Path(), "test", image_size=8)
    runs = sorted(path for path in (folder / "final").iterdir() if path.is_dir())
    shown = [yaml.safe_load((run / "config.yaml").read_text())["wandb"] for run in runs]
    assert [(each["name"], each["arm"]) for each in shown] == [(f"final · seed {seed}", "lr=0.03") for seed in range(3)]
    assert {(each["job_type"], each["group"]) for each in shown} == {("final", folder.name)}
    with torch.inference_mode():
        tables = [load_network(run / "best.safetensors").network(images.pixels).double().softmax(1) for run in runs]
    accuracies = [float((table.argmax(1) == images.labels).double().mean()) for table in tables]
    mean = sum(accuracies) / 3
    assert [each["accuracy"] for each in card["networks"]] == accuracies
    assert card["accuracy"] == pytest.approx(mean)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in accuracies) / 2)
    assert card["deviation"] == pytest.approx(deviation)
    assert card["interval"] == pytest.approx(interval(accuracies, 297))
    together = float(((sum(tables) / 3).argmax(1) == images.labels).double().mean())
    assert card["ensemble"]["accuracy"] == reading.accuracy == together
    assert (card["configurations_tried"], card["runs_tried"], card["test_readings"]) == (2, 4, 1)
    assert (card["ledger"]["digest"], len(reading.networks)) == (reading.digest, 3)
    values = [read_json(path)["validation_accuracy"] for path in folder.glob("lr-0.03*/result.json")]
    assert card["validation_accuracy"]["mean"] == pytest.approx(sum(values) / 2)
    text = (folder / "card.md").read_text()
    assert f"Test accuracy **{mean:.2%} ± {deviation:.2%}** (mean ± sd over 3 seeds, 297 images)" in text
    # The expected higher one of two normal values is 1/√π; over √2, as configurations differ as much as seeds.
    luck = 1 / math.sqrt(2 * math.pi) * card["validation_accuracy"]["deviation"] / math.sqrt(2)
    assert (card["rivals"], card["flattery"]) == (2, pytest.approx(luck, rel=1e-3))
    assert (
        "the best of 2 configurations tried in 4 runs; as the best of 2 it is too good by about"
        f" {card['flattery']:.2%}".replace("%", " points on average")
    ) in text
    assert "Readings of the test set for this study: 1, this one" in text
    assert f"test accuracy **{together:.2%}**" in text and reading.digest in text


def test_it_trains_on_all_images_with_the_schedule_that_was_validated():
    folder = study(*SHORT, "lr=0.03", "seed=0,1,2")
    for path, epoch in zip(sorted(folder.glob("seed-*/result.json")), (1, 3, 2), strict=True):
        path.write_text(json.dumps({**read_json(path), "best_epoch": epoch}))
    finalize.main([str(folder), "--seeds", "1"])
    (run,) = folder.glob("final/seed-0-*")
    rows = metrics(run)
    assert [row["epoch"] for row in rows] == [1, 2]  # the median of 1, 3 and 2
    assert [row["validation_loss"] for row in rows] == [None, None]
    assert rows[1]["lr"] == pytest.approx(0.03 * (1 + math.cos(math.pi / 4)) / 2)  # a cosine over 4 epochs, not 2
    trained = checkpoint.load(run / "last.safetensors").trainer
    steps = -(-1500 // 64)
    assert trained["schedule"]["steps"] == 2 * steps
    assert checkpoint.load(run / "best.safetensors").epoch == 2
    assert same_state(checkpoint.load(run / "best.safetensors").model, trained["model"])
    assert trained["early_stopping"]["best_epoch"] == 0
    assert (run / "config.yaml").read_text().count("validation_size: 0\n") == 1
    assert of_run(run).verdict[:-1] == [
        "It was trained on all images: none is left to validate on.",
        "It ended after 2 of 4 epochs: training was limited to this number of epochs.",
    ]


def test_a_plateau_is_repeated_as_the_run_of_the_median_took_it():
    """No validation improves enough (min_delta), so the rate falls with each of them but the first."""
    falling = ("scheduler=plateau", "scheduler.patience=0", "scheduler.min_delta=0.9", "scheduler.warmup_epochs=1")
    folder = study(*TINY, "epochs=6", *falling, "lr=0.03", "seed=0,1,2")
    for path, epoch in zip(sorted(folder.glob("seed-*/result.json")), (2, 6, 5), strict=True):
        path.write_text(json.dumps({**read_json(path), "best_epoch": epoch}))
    finalize.main([str(folder), "--seeds", "1"])
    (run,), validated = folder.glob("final/seed-0-*"), next(folder.glob("seed-2-*"))
    rates = [row["lr"] for row in metrics(validated)]
    assert rates[1:5] == [0.03, 0.015, 0.0075, 0.00375]
    assert [row["lr"] for row in metrics(run)][1:] == pytest.approx(rates[1:5])  # behind a warm-up of more steps
    assert "their schedule needs a validation loss: the rates of the validated run" in (folder / "card.md").read_text()
    assert json.loads((folder / "finalize.json").read_text())["schedule_replayed"] is True


def test_without_validation_every_image_is_trained_on_in_the_order_of_the_data():
    images = sources.digits(Path(), "train", image_size=8)
    training, validation = split(images, 5, validation_size=0)
    assert validation is None and training is images


def test_a_second_finalize_reads_and_trains_nothing_and_more_seeds_are_another_reading(capsys):
    folder = study(*SHORT, "lr=0.03", "seed=0,1")
    finalize.main([str(folder), "--seeds", "2"])
    before, card = own_ledger().read_text(), (folder / "card.md").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("final/*/last.safetensors")}
    for name in ("finalize.json", "card.md"):
        (folder / name).unlink()  # as after a kill between the ledger and the card
    finalize.main([str(folder), "--seeds", "2"])
    assert (folder / "card.md").read_text() == card and own_ledger().read_text() == before
    assert {path: path.stat().st_mtime_ns for path in folder.glob("final/*/last.safetensors")} == stamps
    assert "this is reading" not in capsys.readouterr().err
    finalize.main([str(folder), "--seeds", "3"])
    assert f"this is reading 2 of the test set for study seed-{folder.name[-8:]}" in capsys.readouterr().err
    assert card_of(folder)["test_readings"] == 2 == len(readings(folder))
    assert "study: 2, **this is not the first: it may look better than it is**" in (folder / "card.md").read_text()
    assert len(stamps) == 2 and {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.long
@pytest.mark.parametrize("killed_at", [("last.safetensors", 2), ("best.safetensors", 3)])
def test_a_killed_finalize_goes_on_where_it_was(monkeypatch, killed_at):
    folder = study(*SHORT, "augmentation=crop", "lr=0.03", "seed=0,1")
    real, calls = checkpoint.save, []

    def killed(path, state):
        epoch = state.epoch
        calls.append((path.parent.name[:6], path.name, epoch))
        if calls[-1] == ("seed-1", *killed_at):
            raise SystemError("killed here")
        real(path, state)

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(SystemError):
        finalize.main([str(folder), "--seeds", "2"])
    assert not own_ledger().exists()
    calls.clear()
    monkeypatch.setattr(checkpoint, "save", lambda path, state: (calls.append(path.parent.name[:6]), real(path, state)))
    finalize.main([str(folder), "--seeds", "2"])
    assert set(calls) == {"seed-1"}  # the first was trained
    disturbed = {path.parent.name: checkpoint.load(path) for path in folder.glob("final/*/last.safetensors")}
    (folder / "final").rename("disturbed")
    finalize.main([str(folder), "--seeds", "2"])
    for name, state in disturbed.items():
        assert same_state(checkpoint.load(folder / "final" / name / "last.safetensors"), state)
    assert len(read_ledger(own_ledger())) == 1  # equal networks: known already


def test_ctrl_c_says_that_the_same_command_goes_on(monkeypatch, capsys):
    folder = study(*SHORT, "lr=0.03", "seed=0,1")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.records.recorder.MetricsFile, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finalize.main([str(folder)])
    printed = capsys.readouterr().out
    assert printed.endswith("Stopped. Saved: 0 of 4 epochs\nThe same command continues from here\n")


def test_the_winner_follows_metric_direction_and_stage():
    folder = study(*SHORT, "lr=0.0001,0.03", "sweep.metric=validation_loss")
    assert winner_of(folder).arm.point == {"lr": "0.03"}
    path = folder / "study.json"
    manifest = read_json(path)
    manifest["sweep"]["direction"] = "maximize"
    path.write_text(json.dumps(manifest))
    assert winner_of(folder).arm.point == {"lr": "0.0001"}
    manifest["runs"][0] |= {"stage": 2}
    manifest["sweep"] |= {"method": "random", "trials": 2, "stages": 2, "direction": None}
    path.write_text(json.dumps(manifest))
    assert winner_of(folder).arm.point == {"lr": "0.0001"}  # only the last stage was trained to the end


def test_the_interval_holds_both_sources_of_noise():
    low, high = wilson(0.9, 1000)
    assert interval([0.9], 1000) == (low, high)
    assert interval([0.9, 0.9, 0.9], 1000) == pytest.approx((low, high))
    spread = 4.302653 * 0.01 / math.sqrt(3)  # Student's t for 2 degrees of freedom
    expected = (0.9 - math.hypot(0.9 - low, spread), 0.9 + math.hypot(high - 0.9, spread))
    assert interval([0.89, 0.9, 0.91], 1000) == pytest.approx(expected)


def test_what_cannot_be_finalized_is_one_line(in_empty_folder):
    with pytest.raises(ConfigError, match=r"^nowhere: there is no such folder$"):
        finalize.main(["nowhere"])
    folder = study(*TINY, "epochs=2", "scheduler=plateau", "scheduler.warmup_steps=3", "lr=0.03,0.05")
    with pytest.raises(RunError) as caught:
        finalize.main([str(folder)])
    assert str(caught.value) == (
        f"{folder}: its winner cannot be trained on all images: scheduler=plateau can be repeated after a warm-up of"
        " whole epochs only"
    )
    result = next(folder.glob("*/result.json"))
    result.write_text(json.dumps({**read_json(result), "state": "interrupted"}))
    with pytest.raises(RunError) as caught:
        finalize.main([str(folder)])
    words = " ".join(
        ["-m", *TINY, "epochs=2", "scheduler=plateau", "scheduler.warmup_steps=3", "lr=0.03,0.05"]
    ).replace("model.hidden=[8]", "'model.hidden=[8]'")
    assert str(caught.value) == (
        f"{folder} is not finished: 1 of 2 runs not ended. To continue: python -m trainer {words}"
    )
    (folder / "study.json").write_text("{")
    with pytest.raises(RunError, match=r"study.json is damaged"):
        finalize.main([str(folder)])
    done = program("finalize", str(folder), "ensemble=1", cwd=in_empty_folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trainer: --ensemble 1: an ensemble has at least two members\n"


def test_other_images_than_the_studys_are_refused(monkeypatch):
    folder = study(*SHORT, "lr=0.03", "seed=0,1")
    real = sources.digits

    def other(place, part, **options):
        images = real(place, part, **options)
        images.storage[0] += 1
        return images

    monkeypatch.setattr(sources, "digits", other)
    monkeypatch.setattr("trainer.data.loader._last_loaded", {})
    with pytest.raises(RunError, match=r"^data_dir=.*: these are not the images that .* was run on$"):
        finalize.main([str(folder)])
    assert not own_ledger().exists()


def test_a_broken_ledger_or_missing_test_images_are_told_before_any_training(in_empty_folder):
    for name, colour in (("cat", 0), ("dog", 99)):
        (in_empty_folder / "pictures" / "train" / name).mkdir(parents=True)
        for number in range(10):
            picture = Image.new("RGB", (8, 8), (9 * number, colour, 0))
            picture.save(in_empty_folder / f"pictures/train/{name}/{number}.png")
    folder = study("dataset=image_folder", "data_dir=pictures", "batch_size=4", *TINY[1:], "epochs=1", "lr=0.01,0.02")
    with pytest.raises(ConfigError, match=r"/pictures: has no test part, .*/pictures/test/<class>/ with pictures$"):
        finalize.main([str(folder)])
    shutil.copytree("pictures/train", "pictures/test")
    assert finalize.main([str(folder), "seeds=1"]) == 0
    trained = set(folder.glob("final/*/last.safetensors"))
    own_ledger().write_text(own_ledger().read_text().replace('"images": 20', '"images": 21'))
    with pytest.raises(ConfigError) as caught:  # exit code 2
        finalize.main([str(folder), "seeds=2"])
    assert str(caught.value) == (
        "outputs/test_readings.jsonl, line 1 is not as it was written: its hash does not match. The test set stays"
        " closed until the ledger is restored from a copy. Nothing was trained"
    )
    assert set(folder.glob("final/*/last.safetensors")) == trained and len(trained) == 1


REFUSED = (
    "dataset.validation_size=0 leaves no images to validate on. To train the winner of a study on all images:"
    " python -m trainer finalize STUDY"
)


@pytest.mark.parametrize("arguments", [(), ("-m", "lr=0.1,0.2")])
def test_only_finalize_trains_without_validation(arguments):
    with pytest.raises(ConfigError) as caught:
        compose([*arguments, *TINY, "dataset.validation_size=0"])
    assert str(caught.value) == REFUSED


def test_a_final_run_is_not_resumed_by_hand():
    folder = study(*SHORT, "lr=0.03", "seed=0,1")
    finalize.main([str(folder), "--seeds", "1"])
    (run,) = folder.glob("final/seed-0-*")
    with pytest.raises(ConfigError) as caught:
        compose([f"resume={run}"])
    assert str(caught.value) == REFUSED
