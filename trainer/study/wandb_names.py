"""How a study and its runs are shown in W&B: the arm, a name and a group for each run, and notes on the question."""

from trainer.config.run_config import WandbConfig
from trainer.study.arm_names import are_words, arm_name
from trainer.study.axes import arm_of, plain_override
from trainer.study.plan import Plan, PlannedRun, plain

MAX_NAME = 128  # letters that W&B accepts
REPLICATE_WORDS = {"dataset.fold": "fold", "split_seed": "split", "seed": "seed"}


def in_wandb(plan: Plan, planned: PlannedRun, group: str) -> WandbConfig:
    """Return the settings of a planned run in W&B, in which the study is the group; typed ones stay."""
    wandb, point = planned.config.wandb, plain(planned.point)
    texts = [plain_override(text).partition("=")[2] for axis in plan.axes for text in axis.texts]
    tuned = [axis.key for axis in plan.sweep.tuned]
    named = {key: value for key, value in arm_of(point).items() if planned.fresh or key not in tuned}
    arm = arm_name(named, len(named) == len(plan.axes) == 1 and are_words(texts), plan.sweep.labels)
    repeats = {"seed": planned.config.seed, **point}
    if planned.fresh and tuned:  # in the same form as the points of a search
        arm = f"tuning {arm}"
    words = [f"{word} {repeats[key]}" for key, word in REPLICATE_WORDS.items() if key in repeats]
    shown = {
        "group": wandb.group or group,
        "arm": wandb.arm or arm,
        "name": wandb.name or " · ".join([arm[: MAX_NAME - 40], *words]),
        "notes": wandb.notes or notes(plan),
    }
    return wandb.model_copy(update=shown)


def notes(plan: Plan) -> str:
    """Return the question of a study, what to expect, and what it compares."""
    compared = ", ".join(axis.described() for axis in plan.axes).replace("arm=", "")
    repeated = ", ".join(axis.described() for axis in plan.replicates)
    what = "Compared" if plan.settings.method == "grid" else f"Searched by {plan.settings.method}"
    sentences = [
        *plan.settings.asked,
        f"{what}: {compared}." if compared else "",
        f"Repeated over: {repeated}." if repeated else "",
    ]
    return " ".join(filter(None, sentences))
