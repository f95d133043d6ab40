"""Training images under every augmentation in conf/augmentation, one row each."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.config.help import options
from trainer.config.schema import Choice
from trainer.demonstrations.descent import settings
from trainer.demonstrations.figures import Figure, Shown
from trainer.demonstrations.options import at_least
from trainer.demonstrations.pictures import as_pictures, of_each_class, training_split

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.images import Images

GAP = 2  # pixels between images


def show(words: Sequence[str], most: int, seed: int) -> Shown:
    """Return one figure, with a row for every augmentation."""
    at_least(1, images=most)
    training = training_split([word for word in words if not word.startswith("augmentation")])
    images = as_pictures(of_each_class(training, most), training.value_range)
    rows = augmented(images, words, seed)
    height, width = images.shape[1:]
    # The names take about as much of the width as one image does.
    shape = f"{(len(images) + 1) * (width + GAP)} / {len(rows) * (height + GAP)}"
    caption = "The first row is as the data set has them. Point at an image for its label, as training then sees it."
    return Shown((Figure(draw(images, rows), caption, shape, wide=True),))


def augmented(images: "Images", words: Sequence[str], seed: int) -> "dict[str, tuple[Tensor, Tensor]]":
    """Return {row: (pixels [N, C, H, W] from 0 to 1, labels [N], or [N, K] of mixed images)}."""
    import torch

    rows = {"none": (images.pixels.float() / 255, images.labels)}
    for name in [name.removesuffix(" *") for name, _ in options("augmentation")]:
        if name == "none":
            continue
        pixels, labels = images.pixels, images.labels
        draw = torch.Generator().manual_seed(seed)
        for choice in _choices(name, words):
            pixels, labels = choice.function()(pixels, labels, len(images.classes), draw)
        pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.clamp(0, 1)
        rows[name] = pixels, labels
    return rows


def _choices(name: str, words: Sequence[str]) -> tuple[Choice, ...]:
    """Return the techniques of `augmentation=[name]`, with the settings that belong to them."""
    own, arguments = [word for word in words if word.startswith("augmentation")], [f"augmentation=[{name}]"]
    parts = {choice.name for choice in settings(*arguments).augmentation}
    known = {option.removesuffix(" *") for option, _ in options("augmentation")}
    # A setting of no technique is passed on as well: the refusal then says what is wrong with it.
    named = {word: word.partition("=")[0].split(".")[1:2] for word in own}
    fits = [word for word, part in named.items() if not part or part[0] in parts or part[0] not in known]
    return settings(*arguments, *fits).augmentation


def draw(images: "Images", rows: "dict[str, tuple[Tensor, Tensor]]") -> dict[str, Any]:
    """Return one figure of all rows with their names; a point on each image shows its label."""
    _, height, width = images.shape
    down, across = height + GAP, width + GAP
    source = _montage([pixels for pixels, _ in rows.values()])
    data: list[dict[str, Any]] = [{"type": "image", "source": source, "hoverinfo": "skip"}]
    columns = [place * across + width / 2 - 0.5 for place in range(len(images))]
    lines = [place * down + height / 2 - 0.5 for place in range(len(rows))]
    for (name, (_, labels)), line in zip(rows.items(), lines, strict=True):
        data.append(
            {
                "type": "scatter",
                "x": columns,
                "y": [line] * len(columns),
                "mode": "markers",
                "marker": {"size": 30, "opacity": 0},
                "text": [f"{name}: {_label(label, images.classes)}" for label in labels],
                "hovertemplate": "%{text}<extra></extra>",
                "showlegend": False,
            }
        )
    bare = {"showgrid": False, "zeroline": False, "ticks": ""}
    across_all, down_all = len(images) * across - GAP - 0.5, len(rows) * down - GAP - 0.5
    layout = {
        "xaxis": {**bare, "showticklabels": False, "range": [-0.5, across_all], "constrain": "domain"},
        "yaxis": {
            **bare,
            "tickvals": lines,
            "ticktext": list(rows),
            "ticklabelstandoff": 6,
            "range": [down_all, -0.5],
            "scaleanchor": "x",
            "constrain": "domain",
        },
        "margin": {"l": 10, "r": 4, "t": 4, "b": 4},
    }
    return {"data": data, "layout": layout}


def _label(label: "Tensor", classes: Sequence[str]) -> str:
    """Return the class, or the classes of a mixed image with their shares."""
    if label.ndim == 0:
        return classes[int(label)]
    shares = sorted(
        ((float(share), name) for share, name in zip(label, classes, strict=True) if share > 0), reverse=True
    )
    return " + ".join(f"{share:.0%} {name}" for share, name in shares)


def _montage(rows: "Sequence[Tensor]") -> str:
    """Return the images in a grid with transparent gaps, as the data URL of a PNG."""
    import torch
    from PIL import Image

    count_images, _, height, width = rows[0].shape
    canvas = torch.zeros(len(rows) * (height + GAP) - GAP, count_images * (width + GAP) - GAP, 4, dtype=torch.uint8)
    for row, pixels in enumerate(rows):
        for column, image in enumerate((pixels * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)):
            top, left = row * (height + GAP), column * (width + GAP)
            canvas[top : top + height, left : left + width, :3] = image.permute(1, 2, 0)
            canvas[top : top + height, left : left + width, 3] = 255
    file = io.BytesIO()
    Image.fromarray(canvas.numpy(), "RGBA").save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
