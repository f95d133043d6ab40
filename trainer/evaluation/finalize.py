"""The final training of a study's best configuration, and the single reading of the test set."""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.shell import command
from trainer.data.download import refuse_download
from trainer.errors import ConfigError, RunError, reason_of
from trainer.records.layout import BEST
from trainer.runtime.files import expanded, make_folder
from trainer.runtime.lock import locked
from trainer.runtime.text import counted, slug
from trainer.storage.untrusted import read_json

if TYPE_CHECKING:
    from trainer.config.run_config import RunConfig
    from trainer.evaluation.ledger import Reading
    from trainer.study.winner import Winner


def _finalize(
    folder: Path,
    seeds: int,
    averaged: int,
    where: str | None,
    data_dir: str | None,
    why: str | None,
    block: str | None = None,
) -> int:
    """Train the missing seeds, read the test set unless the ledger has these networks, write the card; return 0."""
    from trainer.config.own_record import match
    from trainer.runtime.console import say, waiting
    from trainer.study.fingerprint import core_fingerprint
    from trainer.study.winner import winner_of

    with waiting("Loading torch"):
        import_module("trainer.run")

    # The fingerprint is taken before training: the code may be edited meanwhile, what was imported stays.
    winner, code = winner_of(folder, block), core_fingerprint()
    match(winner.median, winner.config)
    what = ", ".join(value if key == "arm" else f"{key}={value}" for key, value in winner.arm.point.items())
    epochs = ", ".join(map(str, winner.best_epochs))
    say(f"Best of {counted(winner.tried[0], 'configuration')}: {what or 'the only one'}", "bold")
    # Everything that can be wrong is checked before the first training: data, test images and the ledger.
    configs = [_final(winner, seed, where, data_dir) for seed in range(seeds)]
    _refuse_other_data(winner, configs[0])
    _refuse_unreadable_test_set(winner, configs[0])
    length = f"{counted(winner.epochs, 'epoch')} (its runs were best in epoch {epochs})"
    say(f"Training it on all images for {length}, with {counted(seeds, 'seed')}")
    places = [_place(winner, config) for config in configs]
    for seed, (config, place) in enumerate(zip(configs, places, strict=True)):
        _train(config, place, winner.epochs, f"Seed {seed}, {seed + 1} of {seeds}")
    reading = _read_test_set_once(places, where or configs[0].device, data_dir, averaged, why or "finalize")
    typed = {"seeds": seeds, "ensemble": averaged or None, "data-dir": data_dir, "device": where, "why": why}
    typed["block"] = block
    options = [text for name, value in typed.items() if value is not None for text in (f"--{name}", value)]
    name = f"-{slug([block])}" if block else ""  # of the card: those of other blocks stay
    _write_card(winner, configs[0], list(range(seeds)), reading, code, command("finalize", folder, *options), name)
    return 0


def _final(winner: "Winner", seed: int, where: str | None, data_dir: str | None) -> "RunConfig":
    """Return the winner's configuration without validation: all images are trained on."""
    from trainer.config.check import check

    try:
        # `epochs` stays, so that the schedule is the validated one; training stops at the winner's best epoch.
        tree = dict(winner.config)
        tree["dataset"] = {**tree["dataset"], "validation_size": 0, "folds": None, "fold": None}
        tree["wandb"] = {**tree["wandb"], "name": f"final · seed {seed}", "job_type": "final"}
        tree |= {"seed": seed, "early_stop_patience": None, "output_dir": None, "resume": None}
        if _needs_validation(winner):
            tree["scheduler"] = _replayed(winner)
            if tree["on_nonfinite"] == "halve_lr":  # the recorded rates are halved already
                tree["on_nonfinite"] = "skip"
        tree |= {"device": where or tree["device"], "data_dir": data_dir or tree["data_dir"]}
        config = check(tree)
        # The recorded data_dir is untrusted, one that is typed is not.
        if data_dir is None:
            refuse_download(config.dataset.name, config.data_dir, winner.folder / "study.json", "--data-dir DIR")
        return config
    except (ConfigError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise RunError(f"{winner.folder}: its winner cannot be trained on all images: {error}") from None


def _needs_validation(winner: "Winner") -> bool:
    """Return whether the winner's learning rate follows the validation loss, which the final training has not."""
    from trainer.config.check import check
    from trainer.techniques.scheduler import ObservingLR

    config = check(winner.config)
    return isinstance(config.scheduler.function()(config.lr, config.epochs), ObservingLR)


def _replayed(winner: "Winner") -> Mapping[str, Any]:
    """Return a schedule of the rates that such a rule took in the run with the median result."""
    from trainer.records.metrics import read_metrics

    schedule, rates = winner.config["scheduler"], [row["lr"] for row in read_metrics(winner.median)]
    name, warmup = schedule["name"], schedule["warmup_epochs"]
    if schedule["warmup_steps"] or warmup != int(warmup):
        raise ConfigError(f"scheduler={name} can be repeated after a warm-up of whole epochs only")
    if len(rates) < winner.epochs:
        recorded = counted(len(rates), "epoch")
        raise ConfigError(f"{winner.median} has recorded {recorded}, its best one is {winner.epochs}")
    # One factor for each epoch after the warm-up, which the schedule itself repeats.
    factors = [rate / winner.config["lr"] for rate in rates[int(warmup) : winner.epochs]]
    return {"name": "factors", "factors": factors or [1.0], "warmup_epochs": warmup, "warmup_steps": 0}


def _refuse_other_data(winner: "Winner", config: "RunConfig") -> None:
    """Refuse images that differ from those of the study."""
    from trainer.study.fingerprint import DataFingerprints

    if DataFingerprints().of(config) not in winner.data:
        raise RunError(f"data_dir={config.data_dir}: these are not the images that {winner.folder} was run on")


def _refuse_unreadable_test_set(winner: "Winner", config: "RunConfig") -> None:
    """Refuse a broken ledger or unreadable test images, which would make all the training useless."""
    from trainer.data.loader import load
    from trainer.evaluation.ledger import readings
    from trainer.evaluation.test_set import refuse_unreadable
    from trainer.training.build import pick_device

    try:
        readings(winner.folder)
        training = load(config.dataset, expanded(config.data_dir), pick_device(config.device))
        refuse_unreadable(config, training)
    except (RunError, OSError) as error:
        raise ConfigError(f"{reason_of(error)}. Nothing was trained") from None


def _place(winner: "Winner", config: "RunConfig") -> Path:
    """Return the folder of one final training, which depends on configuration, number of epochs and code."""
    from trainer.study.fingerprint import code_fingerprint, digest, significant

    decided = {"config": significant(config.tree()), "epochs": winner.epochs, "code": code_fingerprint(config)}
    return winner.folder / "final" / f"seed-{config.seed}-{digest(decided)}"


def _train(config: "RunConfig", folder: Path, epochs: int, title: str) -> None:
    from trainer.run import train
    from trainer.runtime.console import say

    say(title, "bold")
    try:
        # A training that is complete already returns at once; one that was stopped continues.
        with locked(make_folder(folder)):
            result = train(config, folder, stop_after=epochs)
        if result.interrupt:
            raise result.interrupt
    except KeyboardInterrupt:
        say("The same command continues from here", "yellow")
        raise


def _read_test_set_once(places: Sequence[Path], where: str, data_dir: str | None, averaged: int, why: str) -> "Reading":
    """Return the reading of these networks, from the ledger if a finalize that was killed had written it."""
    from trainer.evaluation.inference import load_network
    from trainer.evaluation.ledger import ledger_of, read_ledger
    from trainer.evaluation.test_set import read_test_set
    from trainer.runtime.console import say
    from trainer.training.build import pick_device

    # A kill between reading and card must not cost a second reading: the same checkpoints give the same line.
    snapshots = [load_network(place / BEST) for place in places]
    wanted = [snapshot.digest for snapshot in snapshots]
    for reading in read_ledger(ledger_of(snapshots[0].path)):
        members = 0 if reading.ensemble is None else reading.ensemble["members"]
        if [network.checkpoint for network in reading.networks] == wanted and members == averaged:
            say(f"The test set was read for these networks on {reading.when[:10]}: ledger, reading {reading.number}")
            return reading
    return read_test_set(snapshots, pick_device(where), data_dir, why, averaged).reading


def _write_card(
    winner: "Winner",
    config: "RunConfig",
    seeds: list[int],
    reading: "Reading",
    code: str,
    again: str,
    name: str,
) -> None:
    from trainer.config.run_config import Tag, tagged
    from trainer.evaluation.card import contents, markdown
    from trainer.evaluation.ledger import readings, study_name
    from trainer.runtime.console import say, warn
    from trainer.runtime.files import write_text
    from trainer.storage.checksums import write_record

    same = "those of the study" if code == winner.code else "changed since the study"
    if code != winner.code:
        warn("the code or the libraries were changed since the study was run: the card says so")
    more = {
        "schedule_replayed": _needs_validation(winner),
        "test_readings": sum(other.number <= reading.number for other in readings(winner.folder)),
        "code": same,
        **_environment(Path(winner.folder, "final"), reading),
        "finalize_command": again,
    }
    tree = {key: value for key, value in config.tree().items() if key not in tagged(Tag.NO_EFFECT)}
    card = contents(winner, study_name(winner.folder), tree | {"seed": seeds}, seeds, reading, more)
    text = markdown(card)
    write_record(winner.folder / f"finalize{name}.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    write_text(winner.folder / f"card{name}.md", text)
    say("")
    say(text.partition("```yaml")[0].rstrip())
    say("")
    say(f"Card: {winner.folder / f'card{name}.md'}", "bold")


def _environment(final: Path, reading: "Reading") -> Mapping[str, Any]:
    """Return torch's version, device and git state of the first seed's training."""
    path = final / Path(reading.networks[0].run).name / "environment.json"
    try:
        stamp = read_json(path)[-1]
        return {"torch": stamp["packages"]["torch"], "device": stamp["device"], "git": stamp["git"]}
    except (OSError, ValueError, LookupError, TypeError):
        raise RunError(f"{path} is damaged or missing") from None
