"""The number of trainings that a grid search needs, by the number of its settings. Imports no torch."""

import itertools

from trainer.demonstrations.figures import Fact, Figure, Shown, axis, line
from trainer.demonstrations.options import at_least, positive

MOST_POINTS = 10_000  # a grid up to this size is walked through, larger ones are only computed


def show(values: int, dimensions: int, minutes: float) -> Shown:
    """Return the size of grids with `values` values of each of 1 to `dimensions` settings, and the time they take."""
    at_least(2, values=values, dimensions=dimensions)
    positive(minutes=minutes)
    numbers = list(range(1, dimensions + 1))
    sizes = [size(values, number) for number in numbers]
    alone = [1 + (values - 1) * number for number in numbers]
    data = [line(numbers, sizes, f"grid of {values} values each", 0), line(numbers, alone, "one setting at a time", 1)]
    layout = {
        "xaxis": axis("number of settings", dtick=1),
        "yaxis": axis("trainings", type="log", dtick=1, tickformat=","),
    }
    days, hours = sizes[-1] * minutes / 60 / 24, sizes[1] * minutes / 60
    return Shown(
        (Figure({"data": data, "layout": layout}, "Trainings by the number of settings, on a logarithmic axis."),),
        (
            Fact(
                f"Each further setting multiplies the grid by {values}: {sizes[0]:,} trainings for one setting,"
                f" {sizes[1]:,} for two, {sizes[-1]:,} for {dimensions}.",
                all(after == values * before for before, after in itertools.pairwise(sizes)),
                {"first": float(sizes[0]), "last": float(sizes[-1]), "factor": float(values)},
            ),
            Fact(
                f"At {minutes:g} minutes a training two settings take {hours:,.1f} hours, {dimensions} take {days:,.1f}"
                f" days; {alone[-1]} trainings change one setting at a time.",
                sizes[-1] > alone[-1],
                {"hours": hours, "days": days, "one_at_a_time": float(alone[-1])},
            ),
        ),
    )


def size(values: int, settings: int) -> int:
    """Return the number of points of a grid, counted one by one where that is quick."""
    if values**settings > MOST_POINTS:
        return values**settings
    return sum(1 for _ in itertools.product(range(values), repeat=settings))
