"""The best of several trials, against values that are worked out by hand."""

import itertools
import math
import statistics

import pytest

from trainer.stats.budget import best_so_far, budgets, expected_best, luck_of_best


def test_the_expected_best_is_the_mean_over_all_orders():
    values = [0.2, 0.9, 0.5, 0.5]
    assert expected_best(values, 1, 1) == pytest.approx(0.525)
    # Of two: 0.9 in three of six pairs, 0.5 in the other three.
    assert expected_best(values, 2, 1) == pytest.approx(0.7)
    assert expected_best(values, 4, 1) == 0.9
    assert expected_best(values, 2, -1) == pytest.approx((3 * 0.2 + 3 * 0.5) / 6)
    losses = [0.31, 0.12, 0.77, 0.05, 0.4]
    for count in range(1, 6):
        orders = [min(order[:count]) for order in itertools.permutations(losses)]
        assert expected_best(losses, count, -1) == pytest.approx(statistics.mean(orders))


def test_points_that_others_chose_are_told_in_their_order():
    assert [best_so_far([0.2, 0.9, 0.5], count, 1) for count in (1, 2, 3)] == [0.2, 0.9, 0.9]
    assert best_so_far([0.2, 0.9, 0.1], 2, -1) == 0.2


def test_the_budgets_that_are_told():
    assert budgets(1) == [1] and budgets(3) == [1, 3] and budgets(10) == [1, 3, 10]
    assert budgets(24) == [1, 3, 10, 24] and budgets(100) == [1, 3, 10, 32, 100]


def test_the_luck_of_the_best():
    # The expected highest of 2 normal values is 1/√π, of 10 it is 1.5388 (tables of order statistics).
    assert luck_of_best(2) == pytest.approx(1 / math.sqrt(math.pi) / math.sqrt(2), abs=1e-4)
    assert luck_of_best(10) == pytest.approx(1.5388 / math.sqrt(2), abs=1e-4)
    assert [round(luck_of_best(trials), 1) for trials in (10, 24, 100)] == [1.1, 1.4, 1.8]
