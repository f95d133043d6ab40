"""The result of a study as a card: everything that a person needs to quote the number, and to doubt it."""

import math
import statistics
from typing import Any

import yaml

from trainer.evaluation.ledger import LEDGER, Reading
from trainer.stats.intervals import wilson
from trainer.study.results import Winner

FORMAT_VERSION = 1


def interval(accuracies: list[float], images: int) -> tuple[float, float]:
    """95 % for the accuracy of this training on images like these: both other seeds and other images are in it.

    The half-widths of the seeds' mean (Student's t) and of the images (Wilson) are joined as the sides of a right
    angle, below and above apart. Zou & Donner 2008. With one seed only the images are in it.
    """
    mean, count = statistics.mean(accuracies), len(accuracies)
    low, high = wilson(mean, images)
    spread = 0.0
    if count > 1:
        from scipy.stats import t

        spread = float(t.ppf(0.975, count - 1)) * statistics.stdev(accuracies) / math.sqrt(count)
    return max(0.0, mean - math.hypot(mean - low, spread)), min(1.0, mean + math.hypot(high - mean, spread))


def contents(winner: Winner, name: str, config: dict[str, Any], seeds: list[int], reading: Reading, more: Any) -> Any:
    """Plain values for `finalize.json`. `more`: what finalize knows beside the winner and the reading."""
    accuracies = [network.accuracy for network in reading.networks]
    mean = statistics.mean(accuracies)
    return {
        "format_version": FORMAT_VERSION,
        "study": name,
        "point": dict(winner.point),
        "command": winner.command,
        "accuracy": mean,
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "interval": list(interval(accuracies, reading.images)),
        "images": reading.images,
        "seeds": seeds,
        "networks": [
            {"seed": seed, "run": each.run, "accuracy": each.accuracy, "calibration_error": each.calibration_error}
            for seed, each in zip(seeds, reading.networks, strict=True)
        ],
        "ensemble": _ensemble(reading),
        "epochs": winner.epochs,
        "best_epochs": list(winner.best_epochs),
        winner.metric: {"mean": winner.mean, "deviation": winner.deviation, "runs": len(winner.values)},
        "configurations_tried": winner.tried[0],
        "runs_tried": winner.tried[1],
        "ledger": {"number": reading.number, "when": reading.when, "digest": reading.digest, "data": reading.data},
        **more,
        "config": config,
    }


def _ensemble(reading: Reading) -> dict[str, Any] | None:
    if reading.ensemble is None:
        return None
    return {**reading.ensemble, "interval": list(wilson(reading.ensemble["accuracy"], reading.images))}


def markdown(card: dict[str, Any]) -> str:
    """The card for people, from the values of `contents`."""
    spread = "" if card["deviation"] is None else f" ± {card['deviation']:.2%}"
    low, high = card["interval"]
    count = len(card["seeds"])
    what = ", ".join(value if key == "arm" else f"{key}={value}" for key, value in card["point"].items())
    sources = "other seeds and other images" if count > 1 else "other images; one seed says nothing about others"
    lines = [
        f"# {card['study']}: {card['accuracy']:.2%}{spread} on the test set",
        "",
        f"Test accuracy **{card['accuracy']:.2%}{spread}** (mean{' ± sd' if spread else ''} over {count}"
        f" seed{'s' if count > 1 else ''}, {card['images']} images); 95 % interval **{low:.2%} to {high:.2%}**"
        f" ({sources}).",
        "",
        *_ensemble_lines(card),
        f"- Configuration: {what or 'the only one'}",
        f"- Command of the validated training: `{card['command']}`",
        f"- Chosen by: {_chosen_by(card)}",
        f"- Trained on: training and validation images together, {card['epochs']} epochs (the validated runs were best"
        f" in epoch {', '.join(map(str, card['best_epochs']))}; {_schedule(card)})",
        f"- Readings of the test set for this study: {card['test_readings']}" + _all_readings(card),
        f"- Ledger: reading {card['ledger']['number']} of {card['ledger']['when']} in `{LEDGER}`,"
        f" hash `{card['ledger']['digest']}`",
        f"- Code and libraries: {card['code']}; torch {card['torch']}, on {card['device']}",
        f"- This card: `{card['finalize_command']}`",
        "",
        "| seed | test accuracy | calibration error |",
        "| ---: | ---: | ---: |",
        *(
            f"| {each['seed']} | {each['accuracy']:.2%} | {each['calibration_error']:.2%} |"
            for each in card["networks"]
        ),
        "",
        "```yaml",
        yaml.safe_dump(card["config"], sort_keys=False, allow_unicode=True).rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _schedule(card: dict[str, Any]) -> str:
    if card["schedule_replayed"]:
        return "their schedule needs a validation loss: the rates of the validated run of that length are repeated"
    return f"the schedule stays that of {card['config']['epochs']}"


def _ensemble_lines(card: dict[str, Any]) -> list[str]:
    if card["ensemble"] is None:
        return []
    each, (low, high) = card["ensemble"], card["ensemble"]["interval"]
    members = card["networks"][: int(each["members"])]
    error = statistics.mean(member["calibration_error"] for member in members)
    return [
        f"Ensemble of {len(members)} (mean of their probabilities): test accuracy **{each['accuracy']:.2%}**, 95 %"
        f" interval {low:.2%} to {high:.2%} (other images); calibration error {each['calibration_error']:.2%}, that of"
        f" its members {error:.2%} on average.",
        "",
    ]


def _chosen_by(card: dict[str, Any]) -> str:
    metric = "validation_accuracy" if "validation_accuracy" in card else "validation_loss"
    found, form = card[metric], ".2%" if metric == "validation_accuracy" else ".4f"
    spread = "" if found["deviation"] is None else f" ± {format(found['deviation'], form)}"
    runs = f"{found['runs']} run{'s' if found['runs'] > 1 else ''}"
    return (
        f"{metric.replace('_', ' ')} {format(found['mean'], form)}{spread} over {runs}; it is the best of"
        f" {card['configurations_tried']} configurations tried in {card['runs_tried']} runs"
    )


def _all_readings(card: dict[str, Any]) -> str:
    return ", **this is not the first: it may look better than it is**" if card["test_readings"] > 1 else ", this one"
