"""A study: `trainer.study`, and its arms, runs and verdict. Imports no torch before it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.api.given import Techniques, own_techniques
from trainer.api.guest import composing, training
from trainer.api.runs import Run, frame
from trainer.api.settings import settings
from trainer.config.own import OwnTechniques
from trainer.errors import ConfigError, OneLineError
from trainer.reports import inline, markdown, page
from trainer.reports.content import of_study
from trainer.reports.tables import exported, runs_table
from trainer.reports.verdict_file import verdict_tree
from trainer.storage.places import RUN
from trainer.study.manifest import Manifest
from trainer.study.plan import plan_from

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Pair:
    """Two arms compared. `difference`: mean of `first` minus that of `second`, in the unit of the metric.

    `interval`: (low, high), 95 %, and `p` hold for all pairs of the study together; `single_p` is not corrected. They
    are None where nothing can be tested. `needed`: runs per arm that would tell a difference of `sweep.margin` in 4 of
    5 studies, None without a margin.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float] | None
    p: float | None
    single_p: float | None
    concluded: bool
    needed: int | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The verdict of a study. `winner`: the arm that is better than every other, None if that is not concluded.

    `sentences`: what the report says, as one text each; `notes`: the test behind it, and other images; `blocks`: in a
    study of several data sets the verdict of each, as arms are compared within one of them only.
    """

    metric: str
    winner: str | None
    pairs: tuple[Pair, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = field(repr=False)
    blocks: Mapping[str, Verdict] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        return inline.listed(self.sentences)


def _pairs(tree: Mapping[str, Any]) -> tuple[Pair, ...]:
    """Return the comparisons of a verdict, or of one of its blocks."""
    return tuple(
        Pair(
            each["first"],
            each["second"],
            each["difference"],
            None if each["interval"] is None else (each["interval"][0], each["interval"][1]),
            each["p_corrected"],
            each["p"],
            each["concluded"],
            each["n_needed"],
            each["sentence"],
        )
        for each in tree["comparisons"]
    )


class Study:
    """A study in its folder. Everything is read when it is asked for, also while the study is running elsewhere."""

    def __init__(self, folder: Path, techniques: Sequence[OwnTechniques] = ()) -> None:
        """`techniques`: the own ones that it was given."""
        self.folder, self._own = folder.absolute(), tuple(techniques)  # whatever folder the program goes to

    def __repr__(self) -> str:
        try:
            manifest, arms = Manifest.read(self.folder), len(self.rows)
        except OneLineError as error:  # what shows an object must not fail
            return f"<Study {self.folder}: {error}>"
        states = [manifest.told_outcome(entry).state for entry in manifest.entries]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"<Study {self.folder}: {arms} arms, runs: {counts}>"

    def _repr_html_(self) -> str:
        return inline.shown(lambda: inline.of_study(of_study(self.folder, search=False)))

    @property
    def runs(self) -> list[Run]:
        """The runs that have a folder, in the order of the plan.

        >>> len(study.runs)
        6
        """
        manifest = Manifest.read(self.folder)
        folders = map(manifest.path, manifest.entries)
        return [Run(folder, self._own) for folder in folders if (folder / RUN).is_file()]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary an arm, the best first: arm, its settings, mean, sd and n of the metric, best_epoch, seconds, ….

        Shares are from 0 to 1, times are in seconds; a value that is not there is None.

        >>> [row["n"] for row in study.rows]
        [3, 3]
        """
        arms = verdict_tree(self._exported())["arms"]
        nested = ("settings", "values", "states")
        return [
            {"arm": arm["name"], **arm["settings"], **{k: v for k, v in arm.items() if k not in ("name", *nested)}}
            for arm in arms
        ]

    @property
    def table(self) -> pandas.DataFrame:
        """The rows as a pandas frame [arms, figures]. Raises ConfigError without pandas.

        >>> study.table.set_index("arm").loc["adam", "n"].item()
        3
        """
        return frame(self.rows)

    @property
    def run_rows(self) -> list[dict[str, Any]]:
        """A dictionary a run: its arm, settings and seed, its state, and the figures of its best and its last epoch.

        >>> sorted({row["seed"] for row in study.run_rows})
        [0, 1, 2]
        """
        columns = runs_table(self._exported()).columns
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @property
    def verdict(self) -> Verdict:
        """The comparison of every other arm with the best one; `against` takes a named one instead.

        >>> study.verdict.pairs[0].first
        'adam'
        """
        return self.against(None)

    def against(self, arm: str | None) -> Verdict:
        """Return the comparison of every other arm with the arm of this name. Raises ConfigError if there is none.

        >>> [(pair.first, pair.second) for pair in study.against("sgd").pairs]
        [('adam', 'sgd')]
        """
        source = self._exported(arm)
        tree = verdict_tree(source)
        blocks = {
            block["name"]: Verdict(tree["metric"], block["winner"], _pairs(block), tuple(block["sentences"]), ())
            for block in tree["blocks"]
        }
        content = source.content
        sentences = (*content.verdict, *content.findings)
        return Verdict(tree["metric"], tree["winner"], _pairs(tree), sentences, tuple(content.footnotes), blocks)

    def report(self) -> Path:
        """Write report.html and report.md into the folder, and return the path of the former, which needs no network.

        >>> study.report().name
        'report.html'
        """
        content = of_study(self.folder)
        markdown.write(content)
        return page.write(content)

    def _exported(self, baseline: str | None = None) -> Any:
        return exported([str(self.folder)], baseline)


def study(*overrides: str, techniques: Techniques = None, progress: bool = True) -> Study:
    """Train the runs of a study, or the rest of it, and return it: what `python -m trainer -m` does.

    `overrides`: settings, of which those with several values are compared ("optimizer=sgd,adam") or repeat each arm
    ("seed=0,1,2"). What is trained already is not trained again: the same call continues a study that was stopped. A
    run that fails is recorded as failed. Launchers (`hydra/launcher=joblib`) take own techniques from paths only.

    Raises ConfigError for the first mistake in any of the runs, before one of them starts; RunError if the folder
    cannot be used; Interrupted, a KeyboardInterrupt, once the run that is under way has saved its state.

    >>> compared = ("dataset=digits", "model=mlp", "optimizer=sgd,adam", "seed=0,1,2", "epochs=1")
    >>> study = trainer.study(*compared, progress=False)
    >>> [row["arm"] for row in study.rows]
    ['adam', 'sgd']
    """
    own = own_techniques(techniques)
    with composing(own):
        plan = plan_from(["-m", *settings(overrides, "study")])
        if plan.settings.dry_run:
            raise ConfigError("sweep.dry_run=true trains nothing: give it to python -m trainer -m")
        if plan.launcher != "basic" and any(not each.typed for each in own):
            raise ConfigError(
                f"hydra/launcher={plan.launcher} trains in other processes, which do not have the functions of this"
                " one: give techniques by the path of their file or folder, or leave the launcher out"
            )
        with training(own, progress, "The same call continues from there"):
            from trainer.study.execute import run_study

            result = run_study(plan)
            assert result.folder is not None
            if result.trained or not (result.folder / "wandb").is_dir():
                from trainer.reports.wandb_report import log_verdict

                log_verdict(result.folder)
    return Study(result.folder, own)
