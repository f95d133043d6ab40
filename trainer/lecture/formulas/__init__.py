"""The formulas of the notes: as text, in NumPy, in PyTorch, and the check that the last two agree.

`names` imports no torch; `formula` and `check` import the module of the topic.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from trainer.errors import ConfigError

if TYPE_CHECKING:
    from trainer.lecture.formulas.rule import Formula, Rule

TOPICS = {  # module → its formulas, in the order of the notes
    "optimizers": (
        "gradient_descent",
        "mini_batch",
        "sgd",
        "momentum",
        "momentum_note_003",
        "momentum_note_004",
        "nesterov",
        "weight_decay",
    ),
    "adaptive": ("adagrad", "rmsprop", "adam", "bias_correction", "adamw"),
    "schedules": ("step", "exponential", "cosine", "linear", "inverse_sqrt", "cyclic", "plateau", "warmup"),
    "layers": ("batch_norm", "batch_norm_running", "layer_norm", "dropout", "dropout_expectation", "thinned_average"),
    "activations": ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "vanishing_gradient"),
    "losses": ("cross_entropy", "mse", "label_smoothing", "l1", "l2", "hard_sharing", "soft_sharing", "loss_surface"),
    "init": ("xavier_normal", "kaiming_normal", "zeros"),
    "data": ("standardize", "flip", "crop", "affine", "mixup", "cutout", "noise"),
    "selection": ("moving_average", "ensemble_average", "k_fold", "early_stopping", "selection", "bias_variance"),
    "search": ("grid_cost", "random_search", "log_scale"),
}


def names() -> tuple[str, ...]:
    """Return the names of all formulas, by topic."""
    return tuple(name for topic in TOPICS.values() for name in topic)


@cache
def formula(name: str) -> "Formula":
    """Return a formula in its three forms with the result of its check. Raises ConfigError for a name that is none."""
    return rule_of(name).formula(name)


def check(name: str) -> float:
    """Return the largest difference between the NumPy and the PyTorch form on random inputs."""
    return rule_of(name).difference()


def rule_of(name: str) -> "Rule":
    """Return the functions of a formula and how they are compared. Raises ConfigError for a name that is none."""
    topic = next((topic for topic, members in TOPICS.items() if name in members), None)
    if topic is None:
        raise ConfigError(f"formula={name}: there is none of this name. Accepted: {', '.join(names())}")
    rules: dict[str, Rule] = import_module(f"{__name__}.{topic}").RULES
    return rules[name]
