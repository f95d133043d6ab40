"""The export of a network for other programs, with a comparison of the written file and the original."""

import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import ConfigError, RunError
from trainer.runtime.extras import require as require_libraries

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.evaluation.inference import TrainedNetwork

NEEDED: dict[str, tuple[str, ...]] = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".safetensors": ()}
TOLERANCE = 1e-4  # of a probability; the kernels of other libraries differ by about 1e-6


def require(path: Path) -> None:
    """Check the path of an export. Raises ConfigError for another kind of file or if a library is missing."""
    if path.suffix not in NEEDED:
        raise ConfigError(f"--export {path}: must end in {' or '.join(NEEDED)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--export {path}: there is no folder {path.parent}")
    require_libraries(f"--export {path}", "export", *NEEDED[path.suffix])


def export(snapshot: "TrainedNetwork", path: Path) -> float:
    """Write the file and return the largest difference of a probability, over random images.

    ONNX: "images", float [N, C, H, W], from 0 to 1 or in the unit of the training images if those were floats →
    "probabilities" [N, K]. Safetensors: the best checkpoint of a run.
    Raises RunError if the difference is above the tolerance; no file is written then.
    """
    import torch

    from trainer.runtime.files import replacing

    # Random images need no data set; the seed is fixed, so that the same network gives the same difference.
    generator = torch.Generator().manual_seed(0)
    low, high = snapshot.value_range or (0.0, 1.0)
    images = low + (high - low) * torch.rand((16, *snapshot.shape), generator=generator)
    network = snapshot.network.cpu()
    with torch.inference_mode():
        expected = network(images).softmax(1)
    # In memory first: the file is written only after its content has been run and compared.
    content = _onnx(snapshot, network) if path.suffix == ".onnx" else _safetensors(snapshot, network)
    actual = _run_onnx(content, images) if path.suffix == ".onnx" else _run_safetensors(snapshot, content, images)
    difference = float((actual - expected).abs().max())
    if not difference <= TOLERANCE:  # this form also refuses NaN
        raise RunError(
            f"{path} is not written: its probabilities differ from the original's by up to {difference:.1e},"
            f" more than {TOLERANCE:.0e}"
        )
    with replacing(path) as file:
        file.write(content)
    return difference


def _header(snapshot: "TrainedNetwork") -> dict[str, str]:
    """Return the metadata of an ONNX file, which holds texts only."""
    return {
        "config": json.dumps(snapshot.config.tree()),
        "classes": json.dumps(snapshot.classes),
        "shape": json.dumps(snapshot.shape),
        "epoch": str(snapshot.epoch),
        "value_range": json.dumps(snapshot.value_range or (0, 1)),
    }


def _onnx(snapshot: "TrainedNetwork", network: "nn.Module") -> bytes:
    """Return the content of an ONNX file: the network with a softmax behind it."""
    import torch
    from torch import nn

    # Other programs get probabilities, so that they need not know that the network ends in logits.
    model = nn.Sequential(network, nn.Softmax(1)).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about future versions of the exporter itself
        program = torch.onnx.export(
            model,
            (torch.rand(2, *snapshot.shape),),  # not one image: torch would take a dimension of size 1 as constant
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
    """Return probabilities, the first image as a batch of its own: the number of images must be variable."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    batch = torch.from_numpy(session.run(["probabilities"], {"images": images.numpy()})[0])
    first = torch.from_numpy(session.run(["probabilities"], {"images": images[:1].numpy()})[0])
    return torch.cat([first, batch[1:]])


def _safetensors(snapshot: "TrainedNetwork", network: "nn.Module") -> bytes:
    from trainer.storage.checkpoint import serialize
    from trainer.storage.checkpoint_state import Best

    classes, shape = list(snapshot.classes), list(snapshot.shape)
    bounds, weights = list(snapshot.value_range or ()), network.state_dict()
    return b"".join(serialize(Best(snapshot.config.tree(), classes, shape, snapshot.epoch, weights, bounds)))


def _run_safetensors(snapshot: "TrainedNetwork", content: bytes, images: "Tensor") -> "Tensor":
    import torch
    from safetensors.torch import load

    from trainer.evaluation.inference import network_with_weights

    # By the library's own reader, as other programs use it.
    network = network_with_weights(snapshot.config, snapshot.shape, snapshot.classes, load(content))
    with torch.inference_mode():
        return network(images).softmax(1)
