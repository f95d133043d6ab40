""" "Did you mean …?": suggestions for names that do not exist. Imports no torch."""

import difflib
import re
import shlex
from collections.abc import Iterable

from trainer.config.schema import CONF, GROUPS

# The names of other tools for settings of this one; similar spellings are found without an alias.
ALIASES = {
    **dict.fromkeys(("learning_rate", "learningrate", "eta", "base_lr"), "lr"),
    **dict.fromkeys(("wd", "l2", "decay_rate", "lambda"), "weight_decay"),
    **dict.fromkeys(("bs", "batch", "batchsize", "minibatch"), "batch_size"),
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs", "nb_epochs", "iterations"), "epochs"),
    **dict.fromkeys(("gpu", "gpus", "cuda", "accelerator"), "device"),
    **dict.fromkeys(("arch", "architecture", "net", "network"), "model"),
    **dict.fromkeys(("data", "ds"), "dataset"),
    **dict.fromkeys(("data_path", "data_root"), "data_dir"),
    **dict.fromkeys(("sched", "schedule", "lr_scheduler", "lr_schedule"), "scheduler"),
    **dict.fromkeys(("warmup", "warm_up", "warmup_epochs"), "scheduler.warmup_epochs"),
    **dict.fromkeys(("aug", "augment", "augmentations", "transforms"), "augmentation"),
    **dict.fromkeys(("norm", "batch_norm", "batchnorm", "bn"), "normalization"),
    **dict.fromkeys(("act", "nonlinearity"), "activation"),
    **dict.fromkeys(("drop", "dropout_rate", "p_drop"), "dropout"),
    **dict.fromkeys(("random_seed", "manual_seed"), "seed"),
    **dict.fromkeys(("patience", "early_stopping"), "early_stop_patience"),
    **dict.fromkeys(("clip", "grad_clip", "clip_grad", "max_grad_norm"), "regularization=gradient_clipping"),
    **dict.fromkeys(("amp", "fp16", "bf16", "dtype"), "precision"),
    **dict.fromkeys(("val_size", "val_split", "validation_size", "validation_split"), "dataset.validation_size"),
    **dict.fromkeys(("out", "out_dir", "save_dir", "log_dir"), "output_dir"),
    **dict.fromkeys(("ckpt", "checkpoint"), "resume"),
    # Keys that were renamed.
    "decay": "weight_decay_scope",
    "force": "retrain",
    "insight_every": "layer_stats_every",
    "sweep.fair": "sweep.fairness_check",
    "wandb.artifact": "wandb.log_model",
    "dataset.broken": "dataset.on_corrupt_image",
    "scheduler.minimum": "scheduler.min_lr",
    "scheduler.every": "scheduler.step_size",
    "scheduler=listed": "scheduler=factors",
    "normalization.groups": "normalization.num_groups",
}


def unknown(what: str, name: str, accepted: Iterable[str], where: str, reason: str, root: Iterable[str] = ()) -> str:
    """Return the line for a name that does not exist: "optimizer=adm (command line): there is no such optimizer. …".

    `root`: for an option of a technique, the settings at the root that may have been meant.
    """
    names = sorted(accepted)
    renamed = ALIASES.get(what, "")
    if what == name:
        hint = _alias(name)
    else:  # an alias of an option helps only where the chosen technique has that option
        hint = f" Did you mean {renamed}?" if re.split("[.=]", renamed)[-1] in names else ""
    hint = hint or _nearest(name, names, "") or _nearest(name, root, ", which stands at the root")
    hint = hint or (_alias(name, ", which stands at the root") if root else "")
    return f"{what} ({where}): {reason}.{hint} Accepted: {', '.join(names) or 'none'}"


def unreadable(argument: str) -> str:
    """Return the line for an argument that is not key=value."""
    key, equals, value = argument.partition("=")
    if not equals:
        return f"{argument} (command line): must be key=value.{_meant(argument) or ' See --help'}"
    twice = shlex.quote(f'{key}="{value}"')
    quoted = f"; if it is a text, quote it twice: {twice}" if value[:1] not in ("", "[", "{") else ""
    return f"{argument} (command line): cannot be read as key=value{quoted}"


def no_such_flag(argument: str, accepted: str) -> str:
    """Return the line for an unknown flag, such as the --lr=0.1 of other tools."""
    key, _, value = argument.lstrip("-").partition("=")
    hint = _meant(key, value) if value else _meant(key)
    return f"{argument} (command line): there is no such flag.{hint} Accepted: {accepted}"


def _meant(word: str, value: str = "VALUE, without blanks") -> str:
    """Return the suggestion for a word without `=`, or an empty text. `value` is the value that came with a flag.

    Some experiments have the name of the setting that they vary; the setting is suggested then.
    """
    word = word.lower().replace("-", "_")
    settings = root_keys()
    options = _options()
    near = difflib.get_close_matches(word, {*options, *settings}, n=1, cutoff=0.75)
    known = word in {*options, *settings} or word.partition(".")[0] in settings
    found = ALIASES.get(word, word if known else near[0] if near else None)
    if found is None:
        return ""
    if found in options and found not in settings:
        return f" Did you mean {' or '.join(f'{group}={found}' for group in options[found][:3])}?"
    return f" Did you mean {found if '=' in found else f'{found}={value}'}?"


def _options() -> dict[str, list[str]]:
    """Return {name of a YAML file: the groups that have one}."""
    found: dict[str, list[str]] = {}
    for group in (*GROUPS, "experiment"):
        for file in sorted((CONF / group).glob("*.yaml")):
            found.setdefault(file.stem, []).append(f"-m {group}" if group == "experiment" else group)
    return found


def root_keys() -> set[str]:
    """Return the keys that a command line may set: the config groups and the keys of config.yaml."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    lines = (CONF / "config.yaml").read_text(encoding="utf-8").splitlines()
    return groups | {line.partition(":")[0] for line in lines if line[:1].isalpha()} - {"defaults", "hydra"}


def _alias(name: str, remark: str = "") -> str:
    name, options = name.replace("-", "_"), _options() if not remark else {}
    found = ALIASES.get(name) or (f"{options[name][0]}={name}" if name in options else None)
    return f" Did you mean {found}{remark if found and found.isidentifier() else ''}?" if found else ""


def _nearest(name: str, names: Iterable[str], remark: str) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.75 if remark else 0.5)
    return f" Did you mean {near[0]}{remark}?" if near else ""
