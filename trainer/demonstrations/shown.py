"""The demonstrations: a function for each, whose keyword-only parameters are its options. Imports no torch by itself.

The first sentence of a docstring is the demonstration's title, the next ones are its introduction, and the text after
the name of an option is its help.
"""

from trainer.demonstrations.figures import Shown


def grid_cost(*, values: int = 3, settings: int = 8, minutes: float = 10.0) -> Shown:
    """Cost of a grid search by the number of settings.

    A grid tries every combination, so that its size is a power: values to the number of settings.
    `values`: of each setting. `settings`: the largest number of them. `minutes`: of one training.
    """
    from trainer.demonstrations import search_cost

    return search_cost.show(values, settings, minutes)
