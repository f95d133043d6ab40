"""Mutated files for `fuzzing.py`: checkpoints, data sets, pictures, and bytes of any kind."""

import io
import pickle
import struct
import zipfile
from functools import cache
from pathlib import Path

import torch
from conftest import compose, tiny_images
from hypothesis import strategies as st
from PIL import Image

from trainer import archive, checkpoint
from trainer.build import build_trainer
from trainer.data import cifar, idx
from trainer.data.decode import decode, told
from trainer.errors import RunError
from trainer.snapshot import Snapshot, restore

TINY = ("dataset=digits", "dataset.image_size=8", "model=mlp", "model.hidden=[8]", "device=cpu", "wandb.mode=disabled")


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
def trained() -> tuple[object, dict]:
    """A trainer and the state that its checkpoint holds."""
    (config,) = compose([*TINY, "optimizer=momentum", "batch_size=8"])
    images = tiny_images(16, (1, 8, 8))
    trainer = build_trainer(config, images, images, torch.device("cpu"))
    trainer.do_train()
    portrait = {"config": config.tree(), "classes": list(images.classes), "shape": [1, 8, 8], "format_version": 1}
    return trainer, {**portrait, "trainer": trainer.state_dict()}


@cache
def checkpoint_bytes() -> bytes:
    content = io.BytesIO()
    torch.save(trained()[1], content)
    return content.getvalue()


# fmt: off
STRANGE = [None, True, -1, 0, 2.5, float("nan"), 10**30, "", "x", [], {}, [1], {"a": 1}, "\x1b[2J", [["x"]] * 3,
           "${lr}", torch.ones(2), torch.ones(1).expand(10**12), torch.ones(8, 64).double(),
           torch.ones(8, 64, dtype=torch.int32), torch.empty(0), torch.eye(3).to_sparse(),
           torch.ones(4).as_strided((2, 2), (1, 1)), torch.tensor(float("nan"))]
# fmt: on


def checkpoints() -> st.SearchStrategy[bytes]:
    """Mutated as a file, within its pickle (the checksums of the zip file being right), and value by value."""
    places = list(_places(trained()[1]))
    change = st.tuples(st.sampled_from(places), st.sampled_from([*range(len(STRANGE)), "gone"]))
    return st.one_of(
        mutated(checkpoint_bytes()),
        mutated(_pickle_of(checkpoint_bytes())).map(_with_pickle),
        st.lists(change, min_size=1, max_size=3).map(_with_values),
    )


def _places(tree: object, path: tuple = ()) -> "list[tuple]":
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in items:
        found += [(*path, key), *_places(value, (*path, key))]
    return found


def _with_values(changes: list) -> bytes:
    state = torch.load(io.BytesIO(checkpoint_bytes()), weights_only=True)
    for (*path, last), value in changes:
        node = state
        for key in path:
            inside = (isinstance(node, dict) and key in node) or (isinstance(node, list) and key in range(len(node)))
            node = node[key] if inside else {}
        if isinstance(node, dict):
            node.pop(last, None) if value == "gone" else node.update({last: STRANGE[value]})
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def _pickle_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        return parts.read("archive/data.pkl")


def _with_pickle(content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(checkpoint_bytes())) as parts, zipfile.ZipFile(made, "w") as new:
        for name in parts.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else parts.read(name))
    return made.getvalue()


def try_checkpoint(content: bytes, folder: Path) -> None:
    path = folder / "last.pt"
    path.write_bytes(content)
    try:
        assert isinstance(restore(path), Snapshot)
    except RunError as error:
        one_line(error)
    trainer, right = trained()
    try:
        state = checkpoint.load(path)
        archive.refuse_misfit(trainer, state.get("trainer"))
    except RunError as error:
        one_line(error)
    except ValueError:
        return
    else:  # what passes can be taken up and trained on
        trainer.load_state_dict(state["trainer"])
        trainer.load_state_dict(right["trainer"])


# Data sets and pictures


def _idx(*shape: int) -> bytes:
    sizes = struct.pack(f">{len(shape)}I", *shape)
    return b"\0\0\x08" + bytes([len(shape)]) + sizes + bytes(range(torch.Size(shape).numel()))


def idx_files() -> st.SearchStrategy[bytes]:
    return st.one_of(mutated(_idx(2, 4, 4)), mutated(_idx(7)), st.binary(max_size=24))


def try_idx(content: bytes, folder: Path) -> None:
    try:
        assert len(idx._parse(content, folder / "file")) > 0
    except RunError as error:
        one_line(error)


def cifar_files() -> st.SearchStrategy[bytes]:
    import numpy as np

    batch = {"data": np.arange(6144, dtype=np.uint8).reshape(2, 3072), "labels": [1, 2]}
    return st.sampled_from([2, 4]).flatmap(lambda protocol: mutated(pickle.dumps(batch, protocol)))


def try_cifar(content: bytes, folder: Path) -> None:
    (folder / "batch").write_bytes(content)
    try:
        pixels, labels = cifar._batch(folder / "batch")
        assert pixels.shape == (len(labels), 3, 32, 32)
    except RunError as error:
        one_line(error)


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


def try_picture(content: bytes, folder: Path) -> None:
    path = str(folder / "picture.png")
    Path(path).write_bytes(content)
    try:
        assert len(decode(path, (3, 8, 8))) == 192
    except Exception as error:  # the callers take any, and tell it so
        one_line(RunError(told(path, error)))
