"""The questions that `sweep.ask` and `report --ask` accept of a study. Imports no torch."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from trainer.config.run_config import Question, SweepConfig
from trainer.errors import ConfigError
from trainer.study.ablation import Ablation
from trainer.study.axes import Axis
from trainer.study.manifest import Manifest


def refuse_unanswerable(
    what: str,
    ask: Sequence[Question],
    margin: float | None,
    values: Sequence[float],
    splits: bool,
    ablation: str | None,
    until: bool,
) -> None:
    """Raise ConfigError, which begins with `what`, for a question that a study cannot answer.

    `values`: the number of values of each setting that is compared; `splits`: whether folds or splits repeat its arms;
    `ablation`: its kind, None for another study; `until`: whether it stops as soon as it is decided.
    """
    if ask and until:
        raise ConfigError(
            f"{what}: the answers hold for a number of seeds that is fixed before, and sweep.until=decided stops by the"
            " values: leave one of them out"
        )
    if ablation == "pairs" and until:
        raise ConfigError(
            "ablate=pairs: its average effects and interactions hold for a number of seeds that is fixed before, and"
            " sweep.until=decided stops by the values: give seeds, as seed=0,1,2, or ablate=each"
        )
    if "not_worse" in ask and margin is None:
        raise ConfigError(
            f"{what}: not_worse asks whether an arm is worse by a difference that matters: add sweep.margin to"
            " the study's command, as sweep.margin=0.005 for half a point of accuracy"
        )
    if "superiority" in ask and splits:
        raise ConfigError(f"{what}: superiority compares single runs on the same images, not folds or splits")
    if "interaction" in ask and ablation != "pairs" and list(values) != [2, 2]:
        found = " and ".join(f"{value:g}" for value in values) or "none"
        has = "is an ablation" if ablation else f"has settings with {found} values"
        raise ConfigError(
            f"{what}: interaction needs two settings with two values each, as lr=0.1,0.01 dropout=0,0.3, or"
            f" ablate=pairs; the study {has}"
        )


def refuse_unanswerable_plan(
    settings: SweepConfig, axes: Sequence[Axis], replicates: Sequence[Axis], ablation: Ablation | None
) -> None:
    """Raise ConfigError for a question of `sweep.ask` that a study with these axes cannot answer."""
    refuse_unanswerable(
        f"sweep.ask=[{','.join(settings.ask)}]",
        settings.ask,
        settings.margin,
        [axis.size for axis in axes],
        any(axis.key != "seed" for axis in replicates),
        ablation.kind if ablation else None,
        settings.until is not None,
    )


def with_questions(study: Manifest, typed: str) -> Manifest:
    """Return the study with the questions of `report --ask`, separated by commas. Raises ConfigError."""
    asked = dict.fromkeys(word for word in typed.strip("[]").split(",") if word)
    what = f"--ask {typed}"
    if unknown := [word for word in asked if word not in get_args(Question)]:
        near = difflib.get_close_matches(unknown[0], get_args(Question), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        accepted = ", ".join(get_args(Question))
        raise ConfigError(f"{what}: there is no such question as {unknown[0]}.{hint} Accepted: {accepted}")
    ask: list[Any] = list(asked)
    keys = [text.partition("=")[0] for text in study.axes]
    values = [len({entry.point.get(key) for entry in study.entries}) for key in keys]
    splits = any(key != "seed" for key in study.replicate_keys)
    kind, until = study.ablation.kind if study.ablation else None, study.settings.until is not None
    refuse_unanswerable(what, ask, study.settings.margin, values, splits, kind, until)
    return replace(study, settings=study.settings.model_copy(update={"ask": tuple(ask)}))
