"""The record of a run is read: damage is one line, and weights are numbers whatever their type."""

import json

import numpy as np
import pytest
import torch
from made_runs import EPOCH, made_run
from safetensors.torch import save_file

from trainer.errors import RunError
from trainer.lecture.measuring.runs import RunRecord, tensors_of

LINES = {
    "cut": b'{"epoch": 2, "train_lo\n',
    "no epoch": b'{"train_loss": 1.0}\n',
    "no group": b"[1, 2]\n",
    "no text": b"\xff\xfe\n",
    "not finite": b'{"epoch": 2, "train_loss": NaN}\n',
    "checksum": b'{"epoch": 2, "checksum": "sha256:0000000000000000"}\n',
    "nested": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_damaged_line_is_told_by_its_number(tmp_path, line):
    made_run(tmp_path, [{}])
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + line + path.read_bytes())
    with pytest.raises(RunError) as caught:
        RunRecord.read(tmp_path)
    assert str(caught.value) == f"{path}, line 2 is damaged"


def test_an_incomplete_last_line_is_one_that_is_being_written(tmp_path):
    made_run(tmp_path, [{}, {}])
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + json.dumps({"epoch": 3, **EPOCH}).encode())
    assert [row["epoch"] for row in RunRecord.read(tmp_path).epochs] == [1, 2]


def test_statistics_of_layers_and_of_halves_are_read(tmp_path):
    halves = [{"validation_loss": 1.0}, {"validation_loss": 2.0}]
    first, second = made_run(tmp_path, [{"layer_stats": {"layers": {}}, "halves": halves}, {}]).epochs
    assert (first["layer_stats"], first["halves"]) == ({"layers": {}}, tuple(halves))
    assert (second["layer_stats"], second["halves"]) == (None, ())


@pytest.mark.parametrize("content", [None, "a: [", "- 1"], ids=["missing", "no YAML", "no group"])
def test_settings_that_cannot_be_read_are_one_line(tmp_path, content):
    made_run(tmp_path, [{}])
    path = tmp_path / "config.yaml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RunError, match=r"^the run cannot be measured: .*config\.yaml") as caught:
        RunRecord.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_result_is_no_error_of_the_record(tmp_path):
    made_run(tmp_path, [{}])
    (tmp_path / "result.json").write_text("{")
    assert RunRecord.read(tmp_path).outcome.state == "damaged"


def test_weights_of_every_type_are_read_without_torch(tmp_path):
    path = tmp_path / "best.safetensors"
    values = torch.tensor([[1.5, -2.0], [0.0, 3e38]])
    types = [torch.float64, torch.float32, torch.bfloat16]
    tensors = {str(each): values.to(each) for each in types}
    tensors |= {"half": values[0].half(), "whole": torch.tensor(7), "flag": torch.tensor([True, False])}
    save_file(tensors, path)
    read = tensors_of(path)
    for name, tensor in tensors.items():
        expected = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        np.testing.assert_array_equal(read[name], expected.numpy())


@pytest.mark.parametrize("content", [None, b"", b"\x10" * 100], ids=["missing", "empty", "no header"])
def test_weights_that_cannot_be_read_are_one_line(tmp_path, content):
    run = made_run(tmp_path, [{}])
    path = tmp_path / "best.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        _ = run.best
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
