"""The card of a study's final result: the accuracy, and all that is needed to quote it and to judge it."""

import math
import statistics
from typing import Any

import yaml

from trainer.evaluation.ledger import LEDGER, Reading
from trainer.records.metrics import shown_figure
from trainer.runtime.text import counted
from trainer.stats.intervals import wilson
from trainer.stats.score_rule import described
from trainer.study.winner import Winner

FORMAT_VERSION = 1


def interval(accuracies: list[float], images: int) -> tuple[float, float]:
    """Return the 95 % interval of the accuracy for other seeds and other images of the same kind.

    The half-widths for the seeds (Student's t, for their mean) and for the images (Wilson) are added in quadrature,
    separately below and above the mean. Zou & Donner 2008. With one seed it covers other images only.
    """
    mean, count = statistics.mean(accuracies), len(accuracies)
    # All seeds are scored on the same images, so these count once: `images` is not multiplied by the number of seeds.
    low, high = wilson(mean, images)
    spread = 0.0
    if count > 1:  # one seed has no standard deviation
        # Student's t and not 1.96: with so few seeds the deviation itself is uncertain.
        from scipy.stats import t

        spread = float(t.ppf(0.975, count - 1)) * statistics.stdev(accuracies) / math.sqrt(count)
    return max(0.0, mean - math.hypot(mean - low, spread)), min(1.0, mean + math.hypot(high - mean, spread))


def contents(winner: Winner, name: str, config: dict[str, Any], seeds: list[int], reading: Reading, more: Any) -> Any:
    """Return the plain values of `finalize.json`. `more`: further values, of the code, device and command."""
    accuracies = [network.accuracy for network in reading.networks]
    mean = statistics.mean(accuracies)
    return {
        "format_version": FORMAT_VERSION,
        "study": name,
        "point": dict(winner.arm.point),
        "command": winner.command,
        # The mean of single networks: the ensemble, which costs several trainings, is reported beside it.
        "accuracy": mean,
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "interval": list(interval(accuracies, reading.images)),
        "images": reading.images,
        "seeds": seeds,
        "networks": [
            {
                "seed": seed,
                "run": network.run,
                "accuracy": network.accuracy,
                "calibration_error": network.calibration_error,
            }
            for seed, network in zip(seeds, reading.networks, strict=True)
        ],
        "ensemble": _ensemble(reading),
        "epochs": winner.epochs,
        "best_epochs": list(winner.best_epochs),
        "chosen_by": winner.metric,
        "score": winner.arm.score,
        winner.metric: {"mean": winner.arm.mean, "deviation": winner.arm.deviation, "runs": len(winner.arm.values)},
        # The more were tried, the more the best validation result is above its true value by chance.
        "rivals": winner.rivals,
        "flattery": winner.flattery,
        "configurations_tried": winner.tried[0],
        "runs_tried": winner.tried[1],
        "ledger": {"number": reading.number, "when": reading.when, "digest": reading.digest, "data": reading.data},
        **more,
        "config": config,  # last, as it is by far the longest
    }


def _ensemble(reading: Reading) -> dict[str, Any] | None:
    if reading.ensemble is None:
        return None
    # The interval covers the images alone: there is one ensemble, so the variation between ensembles is not known.
    return {**reading.ensemble, "interval": list(wilson(reading.ensemble["accuracy"], reading.images))}


def markdown(card: dict[str, Any]) -> str:
    """Return the card as Markdown, from the values of `contents`."""
    spread = "" if card["deviation"] is None else f" ± {card['deviation']:.2%}"
    low, high = card["interval"]
    count = len(card["seeds"])
    point = ", ".join(value if key == "arm" else f"{key}={value}" for key, value in card["point"].items())
    sources = "other seeds and other images" if count > 1 else "other images; one seed says nothing about others"
    lines = [
        f"# {card['study']}: {card['accuracy']:.2%}{spread} on the test set",
        "",
        f"Test accuracy **{card['accuracy']:.2%}{spread}** (mean{' ± sd' if spread else ''} over"
        f" {counted(count, 'seed')}, {counted(card['images'], 'image')}); 95 % interval **{low:.2%} to {high:.2%}**"
        f" ({sources}).",  # the variation that the interval covers
        "",
        *_ensemble_lines(card),
        f"- Configuration: {point or 'the only one'}",
        f"- Command of the validated training: `{card['command']}`",
        f"- Chosen by: {_chosen_by(card)}",
        f"- Trained on: training and validation images together, {counted(card['epochs'], 'epoch')} (the validated"
        f" runs were best in epoch {', '.join(map(str, card['best_epochs']))}; {_schedule(card)})",
        f"- Readings of the test set for this study: {card['test_readings']}" + _all_readings(card),
        f"- Ledger: reading {card['ledger']['number']} of {card['ledger']['when']} in `{LEDGER}`,"
        f" hash `{card['ledger']['digest']}`",
        f"- Code and libraries: {card['code']}; torch {card['torch']}, on {card['device']}",
        f"- This card: `{card['finalize_command']}`",
        "",
        "| seed | test accuracy | calibration error |",
        "| ---: | ---: | ---: |",
        *(
            f"| {network['seed']} | {network['accuracy']:.2%} | {network['calibration_error']:.2%} |"
            for network in card["networks"]
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
    ensemble, (low, high) = card["ensemble"], card["ensemble"]["interval"]
    # Its members only: an ensemble may have fewer members than there are seeds.
    members = card["networks"][: int(ensemble["members"])]
    error = statistics.mean(member["calibration_error"] for member in members)
    return [
        f"Ensemble of {len(members)} (mean of their probabilities): test accuracy **{ensemble['accuracy']:.2%}**, 95 %"
        f" interval {low:.2%} to {high:.2%} (other images); calibration error {ensemble['calibration_error']:.2%}, that"
        f" of its members {error:.2%} on average.",
        "",
    ]


def _chosen_by(card: dict[str, Any]) -> str:
    metric = card["chosen_by"]
    value = card[metric]
    spread = "" if value["deviation"] is None else f" ± {shown_figure(metric, value['deviation'])}"
    tried = counted(card["configurations_tried"], "configuration")
    luck = f"it is the best of {tried} tried in {counted(card['runs_tried'], 'run')}"
    if card["flattery"] is not None:
        much = shown_figure(metric, card["flattery"]).replace("%", " points")
        luck += f"; as the best of {card['rivals']} it is too good by about {much} on average"
    return (
        f"{described(metric, card['score'])} {shown_figure(metric, value['mean'])}{spread} over"
        f" {counted(value['runs'], 'run')}; {luck}"
    )


def _all_readings(card: dict[str, Any]) -> str:
    # A configuration that was chosen after an earlier reading was chosen by the test set.
    return ", **this is not the first: it may look better than it is**" if card["test_readings"] > 1 else ", this one"
