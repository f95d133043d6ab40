"""The memory of the machine or of the container, whichever is less."""

import os

import pytest
import torch
from conftest import compose, tiny_images

from trainer.errors import ConfigError
from trainer.runtime import memory
from trainer.training.network import build_model

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("limit", ["memory.max", "memory/memory.limit_in_bytes"])  # of control groups 2 and 1
def test_a_containers_limit_counts_where_it_is_less_than_the_machine_has(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert memory.physical_memory() == MACHINE
    file = tmp_path / limit
    file.parent.mkdir(exist_ok=True)
    for text, expected in (("max\n", MACHINE), (f"{2 * MACHINE}\n", MACHINE), ("1000000\n", 1_000_000)):
        file.write_text(text)
        assert memory.physical_memory() == expected


def test_a_network_larger_than_the_containers_limit_is_refused_before_it_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("200000")
    (config,) = compose(["dataset=digits"])
    with pytest.raises(ConfigError, match=r"^model=lecture_cnn needs \S+ GB for its weights, the memory is 0.0002 GB$"):
        build_model(config, tiny_images(24, (3, 64, 64)))


def test_a_layer_that_cannot_be_is_no_lack_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.nn.functional.conv2d(torch.ones(1, 3, 8, 8), torch.ones(4, 3, 0, 0))
    assert not memory.is_out_of_memory(caught.value)
    assert memory.is_out_of_memory(RuntimeError("could not create a primitive"))
