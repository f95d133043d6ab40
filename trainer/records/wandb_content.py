"""The content that W&B gets of a run: settings, tags, the row of an epoch. Imports torch and wandb late."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.config.directions import direction_of
from trainer.config.run_config import RunConfig, Tag, WandbConfig, tagged
from trainer.techniques.layer_names import layer_titles

if TYPE_CHECKING:
    from torch import nn

X = "epoch"  # the axis that every metric is drawn over
# The extreme of a metric that W&B keeps in its summary, beside the last value.
EXTREMES = {"train_loss": "min", "validation_loss": "min", "train_accuracy": "max", "validation_accuracy": "max"}
NO_CHARTS = ("improved", "skipped_steps")  # the first follows from the losses; the terminal warns of the second
MAX_TAG = 64  # letters


def told(config: RunConfig) -> dict[str, Any]:
    """Return the settings that decide the result, with the name of the arm; they hold no path of this machine."""
    tree = {key: value for key, value in config.tree().items() if key not in tagged(Tag.NO_EFFECT)}
    return tree if config.wandb.arm is None else tree | {"arm": config.wandb.arm}


def shown(config: RunConfig) -> WandbConfig:
    """Return the settings of W&B with the data set and the model among the tags."""
    tags = dict.fromkeys((*config.wandb.tags, config.dataset.name, config.model.name))
    return config.wandb.model_copy(update={"tags": tuple(tag[:MAX_TAG] for tag in tags)})


def define_metrics(run: Any, tree: Mapping[str, Any]) -> None:
    """Draw every metric of a run with these settings over its epochs, and keep its best value."""
    run.define_metric(X, hidden=True)
    run.define_metric("*", step_metric=X)
    for name, extreme in (EXTREMES | _further_extremes(tree)).items():
        run.define_metric(name, step_metric=X, summary=f"{extreme},last")


def _further_extremes(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return the extreme of each figure that a run with these settings records beside loss and accuracy."""
    entropy = ("train_cross_entropy", "validation_cross_entropy")
    usual = tree.get("loss", {}).get("name", "cross_entropy") == "cross_entropy"
    found = {} if usual else dict.fromkeys(entropy, "min")
    directions = {name: direction_of(name) for name in (f"validation_{metric}" for metric in tree.get("metric", {}))}
    return found | {name: "max" if each == "maximize" else "min" for name, each in directions.items() if each}


def epoch_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what W&B logs of an epoch, a line of `metrics.jsonl` or its report as a dictionary."""
    values = {key: value for key, value in row.items() if value is not None and key not in NO_CHARTS}
    layer_stats = values.pop("layer_stats", None)
    return values | (_layer_stats_values(layer_stats) if layer_stats else {})


def parameter_histograms(network: "nn.Module") -> dict[str, Any]:
    """Return a histogram of each parameter; none of one with a value that is not finite."""
    import numpy as np
    import wandb

    from trainer.records.histograms import parameter_counts

    counted = parameter_counts(network)
    return {
        f"parameters/{name}": wandb.Histogram(np_histogram=(np.array(each.counts), np.array(each.edges)))
        for name, each in counted.items()
    }


def _layer_stats_values(layer_stats: dict[str, Any]) -> dict[str, Any]:
    """Return the layer statistics for W&B: numbers and histograms by layer and quantity, filters as an image."""
    import numpy as np
    import wandb

    values: dict[str, Any] = {}
    titles = layer_titles({layer: quantities["kind"] for layer, quantities in layer_stats["layers"].items()})
    for layer, quantities in layer_stats["layers"].items():
        for quantity, value in quantities.items():
            if isinstance(value, dict):
                edges = np.linspace(value["low"], value["high"], len(value["counts"]) + 1)
                value = wandb.Histogram(np_histogram=(value["counts"], edges))
            if value is not None and not isinstance(value, str):
                values[f"layer_stats/{titles[layer]}/{quantity}"] = value
    if layer_stats["filters"]:
        filters = np.array(layer_stats["filters"]["values"], dtype=np.uint8)
        if filters.shape[1] not in (1, 3):  # channels that are no colours: their mean, in grey
            filters = filters.mean(1, keepdims=True).astype(np.uint8)
        # [F, C, H, W] to [H, F·W, C], enlarged eight times: the filters in a row with a black line after each.
        large = np.pad(filters.repeat(8, 2).repeat(8, 3), ((0, 0), (0, 0), (0, 0), (0, 2)))
        values["layer_stats/filters"] = wandb.Image(np.concatenate(list(large), axis=2).transpose(1, 2, 0))
    return values
