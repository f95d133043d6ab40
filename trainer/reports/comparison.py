"""Any runs, arms and studies put together as the arms of one comparison, judged as a study. Imports no torch."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.config.directions import direction_of
from trainer.config.recorded import shown_value, typed_settings
from trainer.config.run_config import SweepConfig, Tag, tagged
from trainer.config.schema import GROUPS
from trainer.config.shell import command
from trainer.data.download import DOWNLOADED
from trainer.errors import ConfigError
from trainer.records.code import changed_files
from trainer.records.layout import MANIFEST
from trainer.reports.content import Content, of_manifest
from trainer.reports.run_content import of_run
from trainer.reports.run_files import Run, run_of
from trainer.runtime.console import duration
from trainer.runtime.files import expanded
from trainer.runtime.text import counted
from trainer.stats.score_rule import CROSS
from trainer.storage.places import named_run
from trainer.study.axes import ARM, REPLICATES
from trainer.study.judging import arm_named
from trainer.study.manifest import Entry, Manifest
from trainer.study.results import results_of

NAMED = 4  # settings that name an arm; where more differ, its label is shorter
# The settings that decide which images a run is validated on. Another size of the same images is none of them.
SPLIT = (
    "dataset",
    "dataset.validation",
    "dataset.on_corrupt_image",
    "dataset.validation_size",
    "dataset.folds",
    "dataset.classes",
)
COUNT, DATA = "the number of validation images", "the fingerprint of the data"
SAME_ANYWHERE = ("digits", *DOWNLOADED)  # the data sets whose images do not depend on `data_dir`

# Those of a study that a verdict does not ask for.
SETTINGS = {"name": None, "method": "grid", "trials": 1, "stages": 1, "direction": None, "pruner": "none", "seed": 0}
SETTINGS |= {"on_error": "continue", "fairness_check": "off", "dry_run": False}

Key = tuple[str, int]


def compared(
    words: Sequence[str], baseline: str | None, metric: str | None, other_images: bool, score: str | None = None
) -> Content:
    """Return the content of a comparison of what is named: folders of runs and studies, and STUDY:ARM.

    Runs that differ in their replicates only are one arm, unless there is no other one. `score`: the rule by which runs
    are scored, None for that of the studies if they have one in common, else the cross-fitted one. Raises ConfigError
    for what is no run and no study, for less than two runs, and unless `other_images` for arms that were not validated
    on the same images.
    """
    studies = list[SweepConfig]()
    named = [each for word in words for each in _named(word, studies)]
    labelled = list({run.folder.resolve(): (label, run) for label, run in named}.values())  # each folder once
    if len(labelled) < 2:
        raise ConfigError(f"{words[0]}: one run is nothing to compare: name another run or study")
    arms = _arms(labelled, REPLICATES)
    if len(arms) < 2:  # repeats of one configuration, which are compared with each other
        arms = _arms(labelled, ())
    caution = _other_images(arms)
    if caution and not other_images:
        raise ConfigError(f"{caution}. To compare them nevertheless: --other-images")
    metrics = {each.metric for each in studies}
    chosen = metric or (metrics.pop() if len(metrics) == 1 else "validation_accuracy")
    every = [run for members in arms.values() for run in members]
    _refuse_incomparable(chosen, every)
    manifest = _manifest(arms, words, _settings(chosen, score, studies))
    content = of_manifest(manifest, baseline, False, {run.folder: run for run in every})
    facts = {name: value for name, value in content.facts if name in ("Runs", "Data")}
    facts = {"Compared": ", ".join(words), **facts}
    facts["Training"] = f"{duration(sum(run.seconds for run in every))} in all"
    facts["Command"] = command("compare", *words)
    notes = [f"{caution}. The differences are not those of the settings alone"] if caution else []
    if score and (others := sorted({each.score for each in studies} - {score})):
        notes.append(
            f"--score {score} was chosen after the runs, which their study scores by {', '.join(others)}: a comparison"
            " that is changed in the light of its results errs in more than 5 % of cases"
        )
    if any(each.until for each in studies):
        notes.append(
            "Seeds were trained until a study was decided (sweep.until), so that their number depends on the results: a"
            " comparison that takes it as fixed errs in more than 5 % of cases"
        )
    notes += _other_code(every)
    return replace(content, facts=list(facts.items()), verdict=[*notes, *content.verdict])


def _refuse_incomparable(metric: str, runs: Sequence[Run]) -> None:
    """Raise ConfigError if a run has not recorded the metric, or if values of different losses would be compared."""
    for run in runs:
        if run.outcome.state == "finished" and run.outcome.figure(metric) is None:
            raise ConfigError(f"--metric {metric}: {run.folder} has not recorded it")
    losses = {json.dumps(run.config.get("loss") or {"name": "cross_entropy"}, sort_keys=True) for run in runs}
    if metric == "validation_loss" and len(losses) > 1:
        raise ConfigError(
            "--metric validation_loss: the values of different losses cannot be compared. Accepted here:"
            " validation_accuracy, validation_cross_entropy or a metric"
        )


def _settings(metric: str, score: str | None, studies: Sequence[SweepConfig]) -> SweepConfig:
    """Return the settings of the comparison. Raises ConfigError if it is not known which values are better."""
    told = next((each.direction for each in studies if each.metric == metric and each.direction), None)
    direction = told or direction_of(metric)
    if direction is None:
        raise ConfigError(f"--metric {metric}: is not known here, so that it cannot be said which values are better")
    rules = {each.score for each in studies}
    rule = score or (rules.pop() if len(rules) == 1 else CROSS)
    return SweepConfig.model_validate({**SETTINGS, "metric": metric, "score": rule, "direction": direction})


def _named(word: str, studies: list[SweepConfig]) -> Iterator[tuple[str, Run]]:
    """Yield (label, run) for each run in what is named: a run, a study or STUDY:ARM.

    The settings of a study are added to `studies`.
    """
    path, arm = expanded(word), ""
    if not path.exists() and ":" in word:
        start, _, name = word.partition(":")
        if (expanded(start) / MANIFEST).is_file():
            path, arm = expanded(start), name
    if not (path / MANIFEST).is_file():
        run = of_run(named_run(word)).arms[0].runs[0]
        yield str(run.folder), run
        return
    study = Manifest.read(path)
    results = results_of(study)
    studies.append(study.settings)
    for each in [arm_named(results, arm, word)] if arm else results.arms:
        for entry in each.entries:
            run = run_of(study.path(entry), "", entry.config)
            missing = study.is_missing(entry)
            yield f"{path}:{each.name}", replace(run, outcome=study.told_outcome(entry)) if missing else run


def _arms(labelled: Sequence[tuple[str, Run]], repeats: Sequence[str]) -> dict[str, list[Run]]:
    """Return the runs by the name of their arm: a configuration, but for the settings that repeat it, on the same data.

    Of two runs with the same replicate the second one begins another arm, as it is no repeat of the first.
    """
    not_compared = {*tagged(Tag.NO_EFFECT, Tag.PLACE), *repeats}
    groups: dict[Key, list[Run]] = {}
    labels: dict[Key, str] = {}
    settings: dict[Key, dict[str, Any]] = {}
    seen = Counter[Any]()
    sizes = Counter(label for label, _ in labelled)  # an arm of a study keeps its seeds: it comes before single runs
    for label, run in sorted(labelled, key=lambda each: -sizes[each[0]]):
        typed = typed_settings(run.config)
        kept = {key: value for key, value in typed.items() if not {key, key.split(".")[0]} & not_compared}
        text = json.dumps([kept, _images(run)["data_dir"]], sort_keys=True, default=str)
        repeated = (text, *(typed.get(key) for key in REPLICATES))
        key = (text, seen[repeated])
        seen[repeated] += 1
        groups.setdefault(key, []).append(run)
        settings[key] = kept
        # Two arms of one label are repeats that hold the same replicate twice: the folder tells them apart.
        labels.setdefault(key, label if label not in labels.values() else str(run.folder))
    names = _names(labels, settings)
    return {names[key]: members for key, members in groups.items()}


def _names(labels: Mapping[Key, str], settings: Mapping[Key, Mapping[str, Any]]) -> dict[Key, str]:
    """Return a name for each arm: the settings in which they differ, or its label where those do not suffice."""
    keys = dict.fromkeys(key for each in settings.values() for key in each)
    differing = [key for key in keys if _distinguishes(key, list(settings.values()))]
    names = {}
    for key, each in settings.items():
        values = {name: shown_value(name, each[name]) for name in differing if name in each}
        alone = next(iter(values.values())) if len(differing) == len(values) == 1 else ""
        is_word = re.match(r"(?!(true|false|null)$)[a-z]", alone)
        names[key] = alone if is_word else " ".join(f"{name}={value}" for name, value in values.items())
    used = Counter(names.values())
    long = any(name.count("=") > NAMED for name in names.values())
    return {key: labels[key] if long or not name or used[name] > 1 else name for key, name in names.items()}


def _distinguishes(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether arms differ in a setting; in an option of a technique, among those that have the technique."""
    root = key.partition(".")[0]
    option = root in GROUPS and key != root
    values: dict[str, set[str]] = {}
    for each in settings:
        technique = json.dumps(each.get(root)) if option and not GROUPS[root].listed else ""
        if key in each or not option:
            values.setdefault(technique, set()).add(json.dumps(each.get(key)))
    return any(len(several) > 1 for several in values.values())


def _images(run: Run) -> dict[str, Any]:
    """Return what decides on which images the run was validated."""
    typed = typed_settings(run.config)
    place = None if typed.get("dataset") in SAME_ANYWHERE else str(expanded(str(typed.get("data_dir"))).resolve())
    split = {key: typed.get(key) for key in (*SPLIT, "dataset.fold", "split_seed")}
    data = run.environment.data if run.environment else None
    return {**split, "data_dir": place, COUNT: run.outcome.validation_images, DATA: data}


def _other_images(arms: Mapping[str, Sequence[Run]]) -> str:
    """Return which run was validated on images that another arm was not, and what differs; "" if there is none."""
    images = {name: [(run, _images(run)) for run in runs] for name, runs in arms.items()}
    every = list(itertools.chain(*images.values()))
    options = {json.dumps(run.config.get("dataset"), sort_keys=True, default=str) for run, _ in every}
    for key in (COUNT, DATA):
        # Not recorded of each run, as of one that has just begun; and another size of the same images is other data.
        if not all(each[key] for _, each in every) or (key == DATA and len(options) > 1):
            for _, each in every:
                del each[key]
    for (_, members), (other, those) in itertools.permutations(images.items(), 2):
        for run, mine in members:
            near = min(those, key=lambda each: sum(mine[key] != each[1][key] for key in mine))[1]
            if key := next((key for key in mine if mine[key] != near[key]), ""):
                values = f"{shown_value(key, mine[key])}, not {shown_value(key, near[key])}"
                return f"{run.folder} was not validated on the images of {other}: {key} is {values}"
    return ""


def _other_code(runs: Sequence[Run]) -> list[str]:
    """Return a sentence on the first run whose code differs from that of the first run; none if all are equal."""
    recorded = [
        (run.folder, {"code": run.environment.code}) for run in runs if run.environment and run.environment.code
    ]
    for folder, code in recorded[1:]:
        if files := changed_files(recorded[0][1], code):
            return [
                f"{folder} was trained with other code than {recorded[0][0]} ({files}): the code may be a cause, too"
            ]
    return []


def _manifest(arms: Mapping[str, Sequence[Run]], words: Sequence[str], settings: SweepConfig) -> Manifest:
    """Return the comparison as a study, whose only axis is the arm and whose runs lie where they are."""
    typed = {run.folder: typed_settings(run.config) for runs in arms.values() for run in runs}
    varied = {key: dict.fromkeys(str(each.get(key)) for each in typed.values()) for key in REPLICATES}
    replicates = {key: values for key, values in varied.items() if len(values) > 1 or key == "seed"}
    entries = [
        Entry(
            id=str(run.folder),
            slug=run.folder.name,
            folder=str(run.folder),
            point={ARM: name, **{key: str(typed[run.folder].get(key)) for key in replicates}},
            texts={},
            config=dict(run.config),
            result=None if run.folder.is_dir() else run.outcome,
        )
        for name, runs in arms.items()
        for run in runs
    ]
    title = " against ".join(arms)
    return Manifest(
        folder=Path(),
        name=title if len(title) <= 80 else f"{counted(len(arms), 'arm')} compared",
        command=tuple(words),
        started="",
        git=None,
        code="",
        data={},
        settings=settings,
        axes=(),
        replicates=tuple(f"{key}={','.join(values)}" for key, values in replicates.items()),
        stages=(),
        entries=tuple(entries),
    )
