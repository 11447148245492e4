"""Chance: the fitness of the best constant answer, and fitness that is not above it."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from lossearch.evaluators.data.splits import Pairs, Split, Splits
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.tasks.chance import Chance, compute_chance


def task_with(targets, pairs=None, dense=False):
    split = Split(torch.zeros(len(targets), 2), torch.tensor(targets), pairs)
    return replace(TASKS["digits"], load=lambda: Splits(split, split), dense=dense)


def test_chance_is_the_most_frequent_class():
    chance = compute_chance(task_with([0, 1, 1, 1, 2]))
    assert (chance.fitness, chance.samples) == (pytest.approx(0.6), 5)


def test_chance_of_pairs_is_the_more_frequent_answer():
    first, same = torch.zeros(4, dtype=torch.int64), torch.tensor([True, False, False, False])
    chance = compute_chance(task_with([0, 1], Pairs(first, first + 1, same)))
    assert (chance.fitness, chance.samples) == (0.75, 4)


def test_chance_of_pixels_is_the_iou_of_one_class_everywhere():
    # class 0 has 3 of 4 labelled pixels, so its IoU is .75 and that of class 1 is 0
    chance = compute_chance(task_with([[[0, 0], [0, 1]], [[-1, -1], [-1, -1]]], dense=True))
    assert (chance.fitness, chance.samples) == (pytest.approx(0.375), 2)


@pytest.mark.parametrize(("right", "of"), [(30, 90), (38, 90), (45, 90), (90, 90), (0, 90), (5, 10)])
def test_a_fitness_is_at_chance_where_its_binomial_interval_reaches_it(right, of):
    low = stats.binomtest(right, of).proportion_ci(0.95, method="wilson").low
    assert Chance(1 / 3, "", of).explains(right / of) == (low <= 1 / 3)
