"""A few mutated inputs of each kind, the same in each test run; `scripts/fuzz.py` tries thousands."""

from collections import Counter

import fuzzing
import pytest
from fuzzing_files import sealed, try_checkpoint, whole
from hypothesis import HealthCheck, given, settings


def few(count: int) -> settings:
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,  # other work on the machine is no failure
        suppress_health_check=list(HealthCheck),
    )


@few(25)
@given(fuzzing.command_lines())
def test_a_command_line_is_a_plan_or_one_line(arguments):
    fuzzing.try_command_line(arguments)


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name, in_empty_folder):
    (strategy, attempt), ends = fuzzing.TARGETS[name], Counter()

    @few(8 if name == "yaml" else 60)
    @given(strategy())
    def check(content):
        ends[attempt(content, in_empty_folder)] += 1

    check()
    assert all(ends[end] >= 3 for end in fuzzing.ENDS.get(name, ())), ends


def test_the_checkpoint_that_is_mutated_is_itself_taken_up(in_empty_folder):
    assert try_checkpoint(sealed(whole()), in_empty_folder) == fuzzing.READ
