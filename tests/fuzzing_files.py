"""Mutated files for `fuzzing.py`: checkpoints, data sets, pictures, and bytes of any kind."""

import copy
import hashlib
import io
import json
import pickle
import struct
from functools import cache
from pathlib import Path
from typing import Any

import torch
from conftest import compose, tiny_images
from hypothesis import strategies as st
from PIL import Image

from trainer.config.run_config import RunConfig
from trainer.data import cifar10, mnist
from trainer.data.decode import decode, decode_error
from trainer.data.identity import identity_of
from trainer.data.images import Images
from trainer.errors import RunError
from trainer.evaluation import inference
from trainer.records import run_folder
from trainer.storage import checkpoint
from trainer.storage.checkpoint_state import Last
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
def saved() -> Last:
    """What its checkpoint holds, saved within the second epoch."""
    config, images = planned()
    trainer = untrained()
    next(trainer.train_loop())
    trainer.do_train(pause=lambda: True)
    return Last(config.tree(), list(images.classes), [1, 8, 8], trainer.state_dict(), provenance())


def provenance() -> dict[str, Any]:
    _, images = planned()
    return {"data": identity_of(images, images, images)}


@cache
def whole() -> bytes:
    """Its file."""
    return b"".join(checkpoint.serialize(saved()))


def sealed(content: bytes) -> bytes:
    """With the right checksum, if it has one at all: it proves nothing against a stranger, who can write one, too."""
    start, end = content[: checkpoint.DIGITS.start], content[checkpoint.DIGITS.stop :]
    if not start.endswith(checkpoint.START):
        return content
    return start + hashlib.sha256(start + checkpoint.BLANK + end).hexdigest().encode() + end


def framed(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file of this header."""
    return sealed(len(header).to_bytes(8, "little") + header + data)


def taken_apart(content: bytes) -> tuple[dict[str, Any], Any, bytes]:
    """(header, description, the bytes of the tensors)."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    return header, json.loads(header["__metadata__"]["description"]), content[end:]


def put_together(header: Any, description: Any, data: bytes) -> bytes:
    """The file with another description; a text stands for it as it is."""
    text = description if isinstance(description, str) else json.dumps(description)
    if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["description"] = text
    return framed(json.dumps(header, separators=(",", ":")).encode(), data)


# fmt: off
STRANGE = [None, True, -1, 0, 0.5, 2.5, float("nan"), float("inf"), 10**30, "", "x", [], {}, [1], {"a": 1}, "\x1b[2J",
           [["x"]] * 3, "${lr}", "F64", "I32", "F8_E5M2", [8, 64], [0, 2**62], [2**40, 2**40], [0, 4], [-4, 0],
           "9" * 5000]
# fmt: on


def checkpoints() -> st.SearchStrategy[bytes]:
    """Mutated as a file, in its header and its description with a right checksum, and value by value."""
    header, description, data = taken_apart(whole())
    places = [*_places({"header": header}), *_places({"description": description})]
    state = [place for place in places if place[:2] in (("description", "trainer"), ("description", "provenance"))]
    texts = mutated(json.dumps(description).encode()).map(lambda text: text.decode("utf-8", "replace"))
    return st.one_of(
        mutated(whole()),
        mutated(whole()[8 : len(whole()) - len(data)]).map(lambda header: framed(header, data)),
        texts.map(lambda text: put_together(copy.deepcopy(header), text, data)),
        numbers().map(sealed),
        values(places),
        values(state),
        values(state),
    )


def values(places: list[tuple]) -> st.SearchStrategy[bytes]:
    """One to three of these values replaced or gone."""
    change = st.tuples(st.sampled_from(places), st.sampled_from([*range(len(STRANGE)), "gone"]))
    return st.lists(change, min_size=1, max_size=3).map(_with_values)


def numbers() -> st.SearchStrategy[bytes]:
    """Other bytes for the tensors: nothing of the form is changed."""
    start = len(whole()) - len(taken_apart(whole())[2])
    change = st.tuples(st.integers(start, len(whole()) - 8), st.binary(min_size=1, max_size=8))

    def apply(changes: list[tuple[int, bytes]]) -> bytes:
        content = bytearray(whole())
        for place, new in changes:
            content[place : place + len(new)] = new
        return bytes(content)

    return st.lists(change, min_size=1, max_size=4).map(apply)


def _places(tree: object, path: tuple = ()) -> "list[tuple]":
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found += [(*path, key), *_places(value, (*path, key))]
    return found


def _with_values(changes: list) -> bytes:
    header, description, data = taken_apart(whole())
    tree: Any = {"header": header, "description": description}
    for (*path, last), value in changes:
        node = tree
        for key in path:
            inside = (isinstance(node, dict) and key in node) or (isinstance(node, list) and key in range(len(node)))
            node = node[key] if inside else {}
        if isinstance(node, dict) and value == "gone":
            node.pop(last, None)
        elif isinstance(node, dict) or (isinstance(node, list) and value != "gone" and last in range(len(node))):
            node[last] = copy.deepcopy(STRANGE[value])  # the next change may reach into it
    return put_together(tree.get("header"), tree.get("description"), data)


def try_checkpoint(content: bytes, folder: Path) -> str:
    """By all that reads one; what is taken up is trained on, to the end of the epoch."""
    path = folder / "run" / "last.safetensors"
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
        run_folder.restore(trainer, path.parent, planned()[0], provenance())
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
        assert len(mnist.parse(content, folder / "file")) > 0
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
        pixels, labels = cifar10.batch(folder / "batch")
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
        pixels, _ = decode(path, (3, 8, 8))
    except Exception as error:  # the callers take any, and tell it so
        one_line(RunError(decode_error(path, error)))
        return REFUSED
    assert len(pixels) == 192
    return READ
