"""The study that a command begins or continues, and its plan: that of the whole if the study has more values."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer.config.run_config import RunConfig
from trainer.errors import ConfigError, RunError
from trainer.runtime.console import say, waiting, warn
from trainer.study.axes import corners, plain_override
from trainer.study.fingerprint import DataFingerprints, core_fingerprint, run_id
from trainer.study.folder import Study, study_id
from trainer.study.growth import united
from trainer.study.home import earlier_studies, name_of, new_folder, with_plan
from trainer.study.manifest import Manifest
from trainer.study.plan import Plan, PlannedRun
from trainer.study.until_decided import first_seeds


def located(plan: Plan, fingerprints: DataFingerprints, home: Path | None = None) -> tuple[Plan, Study]:
    """Return the study of a plan, and the plan: that of the whole study if the command continues one with more values.

    `home`: the folder of the study that is to be continued. Raises ConfigError if the study cannot lie there, or in the
    folder of `output_dir`, or as reading the data does.
    """
    code = core_fingerprint()

    def identify(config: RunConfig) -> str:
        return run_id(config, fingerprints.of(config))

    with waiting("Reading the data"):
        identities = [identify(run.config) for run in first_runs(plan)]
    if plan.runs:
        plan = replace(plan, runs=_without_duplicates(plan.runs, identities))
    if plan.settings.until is not None:  # a higher maximum of seeds is a continuation of the same study
        identities = [identify(run.config) for run in first_seeds(plan)]
    plan_id = study_id(plan, code, fingerprints.known, identities)
    earlier = list(earlier_studies(plan, home))
    # A typed name asks for the study of that name, though another one has the same runs.
    name = None if home or plan.output_dir else plan.settings.name
    known = with_plan([each for each in earlier if name in (None, each.name)], plan_id)
    # The study's own command may have points that were dropped since.
    if known and known.plans[-1] == plan_id and not (home and plan.runs and plan.settings.until is None):
        return plan, Study(plan, known.folder, code, fingerprints.known, plan_id)
    # A study that has grown is continued by its former commands as well, and by others where it is named.
    named = [each for each in earlier if home or plan.output_dir or plan.settings.name == each.name]
    reasons = list[str]()
    for each in [known] if known else named:
        try:
            whole, all_ids = united(plan, Manifest.read(each.folder), code, identify, typed=not home)
        except (ConfigError, RunError) as error:
            if home:
                raise ConfigError(f"{home} cannot be continued: {error}") from None
            if plan.output_dir:
                raise ConfigError(f"output_dir={plan.output_dir}: holds another study: {error}") from None
            reasons.append(f"{each.folder} is another study of this name: {error}")
            continue
        whole_id = study_id(whole, code, fingerprints.known, all_ids)
        return whole, Study(whole, each.folder, code, fingerprints.known, whole_id)
    if reasons:
        say(f"Note: {reasons[0]}. This one gets a folder of its own")
    elif same := next((each for each in earlier if each.command == list(plan.arguments)), None):
        other = same.differs_in(code, fingerprints.known)
        say(f"Note: {same.folder} is of the same command, with other {other}: what they decide is trained anew here")
    return plan, Study(plan, new_folder(plan, name_of(plan), plan_id), code, fingerprints.known, plan_id)


def first_runs(plan: Plan) -> Sequence[PlannedRun]:
    """Return the runs of a grid; a search has none yet, and its first corner stands for its settings and data."""
    return plan.runs or plan.runs_at(next(corners(plan.space), {}))


def _without_duplicates(runs: Sequence[PlannedRun], identities: Sequence[str]) -> tuple[PlannedRun, ...]:
    """Return the runs without duplicates, such as those of lr=0.001,1e-3, and warn once if there were any."""
    unique: dict[str, PlannedRun] = {}
    # Each run is paired with the first run of its identity, which is itself unless it is a duplicate.
    pairs = [(unique.setdefault(name, run), run) for run, name in zip(runs, identities, strict=True)]
    duplicates = [pair for pair in pairs if pair[0] is not pair[1]]
    if duplicates:
        first, second = (" ".join(map(plain_override, run.point.values())) for run in duplicates[0])
        what = f"{first} is given twice" if first == second else f"{first} and {second} are the same run"
        more = f" (one of {len(duplicates)} such pairs): each is" if len(duplicates) > 1 else ": it is"
        warn(f"{what}{more} trained once")
    return tuple(unique.values())
