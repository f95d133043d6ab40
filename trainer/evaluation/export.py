"""Writes a network for other programs, runs what was written and compares it with the original."""

import importlib.util
import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import ConfigError, RunError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.evaluation.inference import TrainedNetwork

NEEDED: dict[str, tuple[str, ...]] = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".safetensors": ()}
TOLERANCE = 1e-4  # of a probability; other kernels differ by about 1e-6


def require(path: Path) -> None:
    """Raises ConfigError if this kind of file is not written, or what writes it is not installed."""
    if path.suffix not in NEEDED:
        raise ConfigError(f"--export {path}: must end in {' or '.join(NEEDED)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--export {path}: there is no folder {path.parent}")
    absent = [name for name in NEEDED[path.suffix] if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(
            f"--export {path} needs {', '.join(absent)}: pip install 'ablation-trainer[export]'. From a checkout:"
            " pip install -e '.[export]'"
        )


def export(snapshot: "TrainedNetwork", path: Path) -> float:
    """Writes the file and returns the largest difference of a probability, over random images.

    ONNX: "images", float [N, C, H, W] from 0 to 1 → "probabilities" [N, K]. Safetensors: a checkpoint as a run
    writes it of its best network. Raises RunError above the tolerance; then no file is left.
    """
    import torch

    from trainer.runtime.files import replacing

    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, *snapshot.shape), generator=draw, dtype=torch.uint8)
    network = snapshot.network.cpu()
    with torch.inference_mode():
        expected = network(images / 255).softmax(1)
    content = _onnx(snapshot, network) if path.suffix == ".onnx" else _safetensors(snapshot, network)
    got = _run_onnx(content, images / 255) if path.suffix == ".onnx" else _run_safetensors(snapshot, content, images)
    difference = float((got - expected).abs().max())
    if not difference <= TOLERANCE:  # also if it is not a number
        raise RunError(
            f"{path} is not written: its probabilities differ from the original's by up to {difference:.1e},"
            f" more than {TOLERANCE:.0e}"
        )
    with replacing(path) as file:
        file.write(content)
    return difference


def _header(snapshot: "TrainedNetwork") -> dict[str, str]:
    """Texts only, as ONNX asks for."""
    return {
        "config": json.dumps(snapshot.config.tree()),
        "classes": json.dumps(snapshot.classes),
        "shape": json.dumps(snapshot.shape),
        "epoch": str(snapshot.epoch),
    }


def _onnx(snapshot: "TrainedNetwork", network: "nn.Module") -> bytes:
    import torch
    from torch import nn

    model = nn.Sequential(network, nn.Softmax(1)).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its future
        program = torch.onnx.export(
            model,
            (torch.rand(2, *snapshot.shape),),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("images_count")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for key, text in _header(snapshot).items():
        proto.metadata_props.add(key=key, value=text)
    content = io.BytesIO(proto.SerializeToString())
    return content.getvalue()


def _run_onnx(content: bytes, images: "Tensor") -> "Tensor":
    """In one batch and one by one: the number of images must be free."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    whole = torch.from_numpy(session.run(["probabilities"], {"images": images.numpy()})[0])
    first = torch.from_numpy(session.run(["probabilities"], {"images": images[:1].numpy()})[0])
    return torch.cat([first, whole[1:]])


def _safetensors(snapshot: "TrainedNetwork", network: "nn.Module") -> bytes:
    from trainer.storage.checkpoint import serialize
    from trainer.storage.checkpoint_state import Best

    classes, shape = list(snapshot.classes), list(snapshot.shape)
    return b"".join(serialize(Best(snapshot.config.tree(), classes, shape, snapshot.epoch, network.state_dict())))


def _run_safetensors(snapshot: "TrainedNetwork", content: bytes, images: "Tensor") -> "Tensor":
    import torch
    from safetensors.torch import load

    from trainer.evaluation.inference import network_with_weights

    network = network_with_weights(snapshot.config, snapshot.shape, snapshot.classes, load(content))
    with torch.inference_mode():
        return network(images / 255).softmax(1)
