"""Checkpoints: written whole or not at all, read without running anything that stands in them."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from trainer import archive
from trainer.errors import RunError
from trainer.files import replacing

FORMAT_VERSION = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Replaces the file by this state, or leaves it as it was."""
    content = io.BytesIO()  # torch's own writer hides from us that a disk is full
    torch.save({"format_version": FORMAT_VERSION, **state}, content)
    with replacing(path) as file:
        file.write(content.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """The saved state on the CPU. Raises RunError with one line if the file is absent, damaged or of another kind."""
    try:
        archive.refuse_bomb(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of, such as sparse tensors, is refused
            state = torch.load(path, map_location="cpu", weights_only=True)
        archive.refuse_oddities(state)
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except Exception as error:  # a damaged archive surfaces as one of a dozen types
        raise RunError(f"{path} cannot be read as a checkpoint: {archive.reason(error)}") from None
    if not isinstance(state, dict) or type(state.get("format_version")) is not int:
        raise RunError(f"{path} is not a checkpoint of this trainer")
    if state["format_version"] != FORMAT_VERSION:
        raise RunError(f"{path} has format version {state['format_version']}; this trainer reads {FORMAT_VERSION}")
    return state
