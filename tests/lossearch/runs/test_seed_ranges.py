"""Seed ranges: no two kinds of training share a seed."""

from itertools import pairwise

from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.work import Work, training_seed
from lossearch.runs import seed_ranges

SEARCHED = {"SEARCH", "FRESH_SEED_TEST"}


def first_seeds(measured: bool) -> list[int]:
    """Return the first seeds of measured trainings, or of those of a search, in ascending order."""
    names = {name for name in vars(seed_ranges) if name.isupper()} - {"LENGTH"}
    return sorted(getattr(seed_ranges, name) for name in (names - SEARCHED if measured else SEARCHED))


def test_ranges_of_one_kind_are_disjoint():
    for measured in (False, True):
        firsts = first_seeds(measured)
        assert all(later - earlier >= seed_ranges.LENGTH for earlier, later in pairwise(firsts))


def test_searches_and_measured_trainings_have_other_random_seeds():
    fidelity = TASKS["digits"].fidelity
    works = {measured: Work((), "digits", fidelity, 0, measured="test" if measured else None) for measured in (0, 1)}
    drawn = [
        training_seed(work, first + number)
        for measured, work in works.items()
        for first in first_seeds(bool(measured))
        for number in range(50)
    ]
    assert len(set(drawn)) == len(drawn)
