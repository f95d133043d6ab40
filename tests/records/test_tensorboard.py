"""`tensorboard=true`: the event files as TensorBoard's own reader understands them."""

import importlib.util
import json
import math
import socket
from pathlib import Path

import pytest
import torch
from conftest import TINY, compose, metrics, quick, timeless

from trainer.errors import ConfigError
from trainer.records import tensorboard
from trainer.records.histograms import parameter_counts
from trainer.run import train
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Last
from trainer.study.fingerprint import significant

pytest.importorskip("tensorboard")


def board(folder="run"):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(f"{folder}/tensorboard", {"scalars": 0, "histograms": 0}).Reload()


def steps(found, tag="train_loss"):
    return [event.step for event in found.Scalars(tag)]


def test_the_reader_finds_every_figure_and_the_weights_of_every_epoch():
    quick(*TINY, "output_dir=run", "epochs=3", "validate_every=2", "tensorboard=true")
    found, rows = board(), metrics(Path("run"))
    for tag in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr", "images_per_second"):
        values = {row["epoch"]: row[tag] for row in rows if row[tag] is not None}
        assert {event.step: event.value for event in found.Scalars(tag)} == pytest.approx(values)
    last = checkpoint.load_as(Last, Path("run/last.safetensors")).trainer["model"]
    tags = found.Tags()["histograms"]
    assert tags and {f"parameters/{name}" for name in last} >= set(tags)
    for tag in tags:
        weights, (*_, event) = last[tag.removeprefix("parameters/")], found.Histograms(tag)
        assert event.step == 3 and event.histogram_value.num == weights.numel()
        assert event.histogram_value.min == weights.min().item() and event.histogram_value.max == weights.max().item()
        assert sum(event.histogram_value.bucket) == weights.numel()
    (file,) = Path("run/tensorboard").iterdir()
    assert file.name == "events.out.tfevents.000001"
    content = file.read_bytes()
    assert socket.gethostname().encode() not in content and str(Path.cwd()).encode() not in content


def test_a_resumed_run_neither_doubles_nor_loses_an_epoch():
    """Killed between the files: once with an epoch too many, once with one too few, and with a torn record."""
    quick(*TINY, "output_dir=run", "epochs=2", "tensorboard=true")
    path, kept = Path("run/tensorboard/events.out.tfevents.000001"), Path("run/last.safetensors").read_bytes()
    train(compose(["resume=run", "epochs=3"])[0])
    assert steps(board()) == [1, 2, 3]
    Path("run/last.safetensors").write_bytes(kept)  # as if killed before the checkpoint of epoch 3
    train(compose(["resume=run", "epochs=4"])[0])
    assert steps(board()) == [1, 2, 3, 4]
    values = [event.value for event in board().Scalars("train_loss")]
    assert values == pytest.approx([row["train_loss"] for row in metrics(Path("run"))])
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == [f"events.out.tfevents.{number:06}" for number in (1, 2, 3)]
    last = path.with_name(names[-1])
    last.write_bytes(last.read_bytes()[:-20])  # the record of epoch 4 is torn
    train(compose(["resume=run", "epochs=5"])[0])
    assert steps(board()) == [1, 2, 3, 4, 5]
    quick(*TINY, "output_dir=whole", "epochs=2")
    train(compose(["resume=whole", "epochs=3", "tensorboard=true"])[0])  # only now
    assert steps(board("whole")) == [1, 2, 3]


def test_it_changes_no_result_and_no_id():
    quick(*TINY, "output_dir=with", "tensorboard=true", "dropout=0.3")
    quick(*TINY, "output_dir=without", "dropout=0.3")
    assert timeless(Path("with")) == timeless(Path("without"))
    one, other = (compose(["dataset=digits", f"tensorboard={on}"])[0].tree() for on in ("true", "false"))
    assert significant(one) == significant(other)


def test_an_error_is_one_warning_and_the_run_goes_on(monkeypatch, capsys):
    def full(self, data):
        raise OSError(28, "No space left on device", "events")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    assert quick(*TINY, "output_dir=run", "tensorboard=true").epochs == 2
    told = capsys.readouterr().err
    assert told.count("TensorBoard") == 1
    assert "TensorBoard gets no more of this run: events: No space left on device" in told
    assert json.loads(Path("run/result.json").read_text())["state"] == "finished"


def test_damaged_event_files_and_a_folder_that_is_a_file_are_a_warning(capsys):
    quick(*TINY, "output_dir=run", "tensorboard=true")
    Path("run/tensorboard/events.out.tfevents.000001").write_bytes(b"\x08" + b"\0" * 11 + b"\xff" * 12)
    train(compose(["resume=run", "epochs=3"])[0])
    assert "TensorBoard gets no more of this run: " in capsys.readouterr().err
    quick(*TINY, "output_dir=other")
    Path("other/tensorboard").touch()
    train(compose(["resume=other", "epochs=3", "tensorboard=true"])[0])
    assert "TensorBoard gets no more of this run: " in capsys.readouterr().err


def test_without_the_library_nothing_is_trained(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else real(name))
    for words in (["tensorboard=true"], ["-m", "tensorboard=true", "seed=0,1"]):
        with pytest.raises(ConfigError) as caught:
            compose(["dataset=digits", *words])
        assert str(caught.value).startswith(
            "tensorboard=true needs tensorboard: pip install 'ablation-trainer[tensorboard]'"
        )


def test_equal_weights_are_one_bin_and_weights_that_are_not_finite_none():
    network = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(network.bias, 7.0)
    counts = parameter_counts(network)
    proto = tensorboard._proto(counts["bias"])
    assert (list(proto.bucket_limit), list(proto.bucket), proto.sum) == ([7.0], [2.0], 14.0)
    torch.nn.init.constant_(network.bias, math.nan)
    assert list(parameter_counts(network)) == ["weight"]
