"""Mutated files for `fuzzing.py`: checkpoints, data sets, pictures, and bytes of any kind."""

import copy
import hashlib
import io
import pickle
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from conftest import compose, tiny_images
from hypothesis import strategies as st
from PIL import Image

from trainer.config.run_config import RunConfig
from trainer.data import cifar10, mnist
from trainer.data.decode import decode, told
from trainer.data.images import Images
from trainer.errors import RunError
from trainer.evaluation import inference
from trainer.records import run_folder
from trainer.storage import checkpoint
from trainer.training.build import build_trainer
from trainer.training.trainer import ClassificationTrainer

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")
# How an example ends. Of a fuzzer whose examples all end in the same way little is learnt.
READ, REFUSED, NO_FILE = "read", "refused", "refused as a file"


def one_line(error: Exception) -> None:
    text = str(error)
    assert text.strip() and text.isprintable() and len(text) < 2100, repr(text[:300])


# Bytes


def mutated(whole: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes changed, a piece cut out, doubled or put elsewhere, the end cut off."""
    place = st.integers(0, max(len(whole) - 1, 0))
    change = st.tuples(st.sampled_from(["set", "cut", "copy", "end"]), place, place, st.binary(max_size=8))

    def apply(changes: list[tuple[str, int, int, bytes]]) -> bytes:
        content = whole
        for how, first, second, new in changes:
            low, high = sorted((first, second))
            match how:
                case "set":
                    content = content[:first] + new + content[first + len(new) :]
                case "cut":
                    content = content[:low] + content[min(high, low + 64) :]
                case "copy":
                    content = content[:low] + content[low : min(high, low + 64)] + content[low:]
                case "end":
                    content = content[:first]
        return content

    return st.lists(change, min_size=1, max_size=4).map(apply)


# Checkpoints


@cache
def planned() -> tuple[RunConfig, Images]:
    """A run whose optimizer, schedule and regularization all remember something."""
    (config,) = compose([*TINY, "optimizer=adam", "scheduler=plateau", "regularization=ema", "batch_size=8"])
    return config, tiny_images(16, (1, 8, 8))


def untrained() -> ClassificationTrainer:
    config, images = planned()
    return build_trainer(config, images, images, torch.device("cpu"))


@cache
def saved() -> dict[str, Any]:
    """What its checkpoint holds, saved within the second epoch."""
    config, images = planned()
    trainer = untrained()
    next(trainer.train_loop())
    trainer.do_train(pause=lambda: True)
    portrait = {"config": config.tree(), "classes": list(images.classes), "shape": [1, 8, 8]}
    return {"format_version": checkpoint.FORMAT_VERSION, **portrait, "trainer": trainer.state_dict()}


@cache
def unsealed() -> bytes:
    content = io.BytesIO()
    torch.save(saved(), content)
    return content.getvalue()


def sealed(content: bytes) -> bytes:
    """A checksum proves nothing against a stranger: they can write one, too."""
    bare = bytearray(content)
    if bare[-checkpoint.COMMENT :].startswith(checkpoint.SEAL):
        del bare[-checkpoint.COMMENT :]
    bare[-2:] = checkpoint.COMMENT.to_bytes(2, "little")
    return bytes(bare) + checkpoint.SEAL + hashlib.sha256(bare).hexdigest().encode()


# fmt: off
STRANGE = [None, True, -1, 0, 0.5, 2.5, float("nan"), 10**30, "", "x", [], {}, [1], {"a": 1}, "\x1b[2J", [["x"]] * 3,
           "${lr}", torch.ones(2), torch.ones(1).expand(10**12), torch.ones(8, 64).double(), torch.tensor(-1.0),
           torch.ones(8, 64, dtype=torch.int32), torch.empty(0), torch.eye(3).to_sparse(),
           torch.ones(4).as_strided((2, 2), (1, 1)), torch.tensor(float("nan"))]
# fmt: on


def checkpoints() -> st.SearchStrategy[bytes]:
    """Mutated as a file, with its checksum and with a right one, within its pickle, and value by value."""
    places = list(_places(saved()))
    change = st.tuples(st.sampled_from(places), st.sampled_from([*range(len(STRANGE)), "gone"]))
    values = st.lists(change, min_size=1, max_size=3).map(_with_values)
    return st.one_of(
        mutated(sealed(unsealed())),
        mutated(unsealed()).map(sealed),
        mutated(_pickle_of(unsealed())).map(_with_pickle).map(sealed),
        values.map(sealed),
        values.map(sealed),
    )


def _places(tree: object, path: tuple = ()) -> "list[tuple]":
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found += [(*path, key), *_places(value, (*path, key))]
    return found


def _with_values(changes: list) -> bytes:
    state = torch.load(io.BytesIO(unsealed()), weights_only=True)
    for (*path, last), value in changes:
        node = state
        for key in path:
            inside = (isinstance(node, dict) and key in node) or (isinstance(node, list) and key in range(len(node)))
            node = node[key] if inside else {}
        if isinstance(node, dict) and value == "gone":
            node.pop(last, None)
        elif isinstance(node, dict) or (isinstance(node, list) and value != "gone" and last in range(len(node))):
            strange = STRANGE[value]  # a copy of what the next change may reach into
            node[last] = copy.deepcopy(strange) if isinstance(strange, list | dict) else strange
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def _pickle_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        return parts.read("archive/data.pkl")


def _with_pickle(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(unsealed())) as parts, zipfile.ZipFile(made, "w") as new:
        for name in parts.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else parts.read(name))
    return made.getvalue()


def try_checkpoint(content: bytes, folder: Path) -> str:
    """By all that reads one; what is taken up is trained on, to the end of the epoch."""
    path = folder / "run" / "last.pt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    try:
        checkpoint.load(path)
    except RunError as error:
        one_line(error)
        return NO_FILE
    try:
        assert isinstance(inference.load_network(path), inference.TrainedNetwork)
    except RunError as error:
        one_line(error)
    trainer = untrained()
    try:
        run_folder.restore(trainer, path.parent, planned()[0])
    except RunError as error:
        one_line(error)
        return REFUSED
    try:
        next(trainer.train_loop(), None)
    except RunError as error:
        one_line(error)
    return READ


# Data sets and pictures


def _idx(*shape: int) -> bytes:
    sizes = struct.pack(f">{len(shape)}I", *shape)
    return b"\0\0\x08" + bytes([len(shape)]) + sizes + bytes(range(torch.Size(shape).numel()))


def idx_files() -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(_idx(2, 4, 4)), mutated(_idx(7)), st.binary(max_size=24))


def try_idx(content: bytes, folder: Path) -> str:
    try:
        assert len(mnist._parse(content, folder / "file")) > 0
    except RunError as error:
        one_line(error)
        return REFUSED
    return READ


def cifar_files() -> st.SearchStrategy[bytes]:
    import numpy as np

    batch = {"data": np.arange(6144, dtype=np.uint8).reshape(2, 3072), "labels": [1, 2]}
    return st.sampled_from([2, 4]).flatmap(lambda protocol: mutated(pickle.dumps(batch, protocol)))


def try_cifar(content: bytes, folder: Path) -> str:
    (folder / "batch").write_bytes(content)
    try:
        pixels, labels = cifar10._batch(folder / "batch")
        assert pixels.shape == (len(labels), 3, 32, 32)
    except RunError as error:
        one_line(error)
        return REFUSED
    return READ


def pictures() -> st.SearchStrategy[bytes]:
    whole = []
    forms = [
        ("PNG", "RGB"),
        ("PNG", "I;16"),
        ("JPEG", "CMYK"),
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("TIFF", "L"),
        ("WEBP", "RGBA"),
    ]
    for form, mode in [*forms, ("WEBP", "RGBA")]:
        made = io.BytesIO()
        gray = Image.linear_gradient("L").resize((12, 9))
        (Image.new(mode, (12, 9), 9999) if mode == "I;16" else gray.convert(mode)).save(made, form)
        whole.append(made.getvalue())
    whole += [
        b"P6 2 2 255 " + bytes(12),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"text",
    ]
    return st.sampled_from(whole).flatmap(mutated)


def try_picture(content: bytes, folder: Path) -> str:
    path = str(folder / "picture.png")
    Path(path).write_bytes(content)
    try:
        pixels = decode(path, (3, 8, 8))
    except Exception as error:  # the callers take any, and tell it so
        one_line(RunError(told(path, error)))
        return REFUSED
    assert len(pixels) == 192
    return READ
