"""A recorded run trained again: equal to the last bit, or the causes and sizes of the differences."""

import json
from pathlib import Path

import pytest
import torch
from conftest import PICTURES, compose, draw_pictures, metrics, program, quick
from test_evaluate import TINY

from trainer.cli import reproduce
from trainer.errors import ConfigError, RunError
from trainer.run import train
from trainer.storage import checkpoint
from trainer.storage.untrusted import read_json

SHORT = (*TINY, "epochs=3", "augmentation=crop", "dropout=0.2")


def test_the_same_machine_gives_the_same_bits(capsys):
    run = quick(*SHORT, "output_dir=run").folder
    capsys.readouterr()
    assert reproduce.main([str(run)]) == 0
    weights = checkpoint.load(run / "last.safetensors").trainer["model"]
    printed = capsys.readouterr().out
    assert f"Equal to the last bit: 6 tensors, SHA-256 of the weights {reproduce.weights_hash(weights)}" in printed
    assert Path("outputs/reproduced/run/last.safetensors").is_file()
    assert reproduce.main([str(run)]) == 0
    assert Path("outputs/reproduced/run_2/last.safetensors").is_file()


def test_a_run_that_stopped_early_or_went_on_is_reproduced_as_far_as_it_came():
    run = quick(*TINY, "epochs=9", "early_stop_patience=1", "early_stop_min_delta=10.0", "output_dir=run").folder
    assert reproduce.main([str(run)]) == 0
    assert checkpoint.load(Path("outputs/reproduced/run/last.safetensors")).epoch == 2
    quick(*SHORT, "output_dir=parts")
    train(compose(["resume=parts", "epochs=5"])[0])
    assert reproduce.main(["parts"]) == 0


def test_the_hash_is_of_the_tensors_not_of_the_file_or_its_order():
    weights = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(0, dtype=torch.int32)}
    same = {"a": torch.tensor(0, dtype=torch.int32), "b": torch.arange(6.0).view(3, 2).T.contiguous().T.reshape(2, 3)}
    assert reproduce.weights_hash(weights) == reproduce.weights_hash(same)
    others = (
        {**weights, "a": torch.tensor(0.0)},  # the same bytes
        {**weights, "b": weights["b"].view(3, 2)},
        {"b": weights["b"], "c": weights["a"]},
        {**weights, "b": torch.nextafter(weights["b"], torch.tensor(9.0))},
    )
    assert len({reproduce.weights_hash(each) for each in (weights, *others)}) == 5


def test_a_difference_is_measured_and_what_changed_is_named(capsys):
    run = quick(*SHORT, "output_dir=run").folder
    state = checkpoint.load(run / "last.safetensors")
    state.trainer["model"]["1.1.weight"][0, 0] += 0.25
    checkpoint.save(run / "last.safetensors", state)
    rows = metrics(run)
    rows[1]["validation_loss"] += 0.125
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (stamp,) = read_json(run / "environment.json")
    old = {**stamp, "packages": {**stamp["packages"], "torch": "2.0.0"}, "device": "cuda", "threads": 7}
    old["code"] = {**stamp["code"], "techniques/activation.py": "0123456789", "training/gone.py": "0123456789"}
    (run / "environment.json").write_text(json.dumps([old]))
    capsys.readouterr()
    assert reproduce.main([str(run), "--threads", "1"]) == 1
    told = capsys.readouterr().out.partition("\n\n")[2].splitlines()
    assert told[0].startswith("Different: SHA-256 of the weights ")
    assert "Largest difference of a weight: 0.25, in 1.1.weight" in told
    assert "Largest difference of validation loss: 0.125, in epoch 2" in told
    assert "The first epoch with a difference: 2" in told
    now = stamp["packages"]["torch"]
    assert told[told.index("Differences from the recorded environment:") + 1 :][:3] == [
        f"  torch: 2.0.0 then, {now} now",
        "  device: cuda then, cpu now",
        "  threads: 7 then, 1 now",
    ]
    assert "  code of the trainer: techniques/activation.py, training/gone.py changed" in told


def test_other_data_are_named(capsys):
    draw_pictures(Path("data/train"), a=10, b=10)
    run = quick(*PICTURES, "output_dir=run").folder
    draw_pictures(Path("data/train"), b=20)
    capsys.readouterr()
    assert reproduce.main([str(run)]) == 1
    told = capsys.readouterr().out
    sentence = "The data are not those of the recorded run: 18 → 36 training images, 2 → 4 validation images"
    assert sentence in told.splitlines()
    draw_pictures(Path("data/train"), c=20)
    assert reproduce.main([str(run)]) == 1
    assert "The networks are not of the same form: their data are others" in capsys.readouterr().out


def test_the_threads_are_those_of_the_record():
    run = quick(*SHORT, "output_dir=run").folder
    path = run / "environment.json"
    path.write_text(json.dumps([{**read_json(path)[0], "threads": 2}]))
    try:
        reproduce.main([str(run)])
        assert read_json(Path("outputs/reproduced/run/environment.json"))[0]["threads"] == 2
    finally:
        torch.set_num_threads(1)


def test_what_cannot_be_reproduced_is_one_line(in_empty_folder):
    with pytest.raises(ConfigError, match=r"^nowhere: there is no such folder$"):
        reproduce.main(["nowhere"])
    run = quick(*SHORT, "output_dir=run").folder
    (run / "environment.json").write_text('[{"threads": "many"}]')
    done = program("reproduce", "run", cwd=in_empty_folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "trainer: run/environment.json is damaged; it should record the software and hardware of the run\n"
    )


def test_a_hostile_record_runs_nothing():
    run = quick(*SHORT, "output_dir=run").folder
    state = checkpoint.load(run / "last.safetensors")
    state.config["optimizer"] = {"name": "os.system"}
    checkpoint.save(run / "last.safetensors", state)
    with pytest.raises(
        RunError, match=r"last.safetensors does not hold a run that this version can read: optimizer=os.system"
    ):
        reproduce.main([str(run)])
    assert not Path("outputs/reproduced").exists()


def test_a_run_that_was_stopped_within_an_epoch_is_to_go_on_first():
    run = quick(*TINY, "output_dir=run").folder
    state = checkpoint.load(run / "last.safetensors")
    state.trainer.update(epoch=1, progress={"step": 3})
    checkpoint.save(run / "last.safetensors", state)
    with pytest.raises(
        RunError,
        match=r"epoch 2: continue it to the end of the epoch first. To continue: python -m trainer resume=run$",
    ):
        reproduce.main([str(run)])
