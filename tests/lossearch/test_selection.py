import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

from lossearch.member import AgedFitness, Member
from lossearch.selection import Lexicase, Tournament, front, survivors
from primitives.parser import parse
from results.statistics import mean

SIZES = {2: "ce(z)", 4: "ce(z - y)", 6: "ce(z - 2*y)"}  #: a formula of each size


def with_cases(name, *cases):
    return Member(name, parse("ce(z)"), mean(cases), cases=cases)


def of(name, fitness, size=2):
    return Member(name, parse(SIZES[size]), fitness)


def aged(name, fitness, size, origin):
    member = of(name, fitness, size)
    member.fitness = AgedFitness((fitness, float(size), float(origin)))
    return member


def names(members):
    return {each.loss_id for each in members}


def drawn(parents, times=400):
    generator = random.Random(0)
    return Counter(parents.draw(generator).loss_id for _ in range(times))


def test_the_formulas_have_the_sizes_that_they_stand_for():
    assert all(parse(text).size == size for size, text in SIZES.items())


def test_lexicase_draws_specialists_of_equal_means_and_nobody_in_between():
    # Deviations of either case are 0.5, 0.5 and three times 0: epsilon is 0, and who is best on the first case wins.
    middling = [with_cases(f"middling {number}", 0.5, 0.5) for number in range(3)]
    found = drawn(Lexicase([with_cases("one", 1.0, 0.0), with_cases("other", 0.0, 1.0), *middling]))
    assert found.keys() == {"one", "other"}
    assert 150 < found["one"] < 250  # half of 400, within five standard deviations


def test_lexicase_keeps_whom_epsilon_separates_from_the_best():
    # Case 1: median 0.875, deviations 0.125, 0, 0.375, epsilon 0.125: 0.875 passes, 0.5 does not.
    # Case 2: median 0.5, deviations 0.5, 0.375, 0, epsilon 0.375: 0.5 passes, 0 does not.
    population = [with_cases("a", 1.0, 0.0), with_cases("b", 0.875, 0.875), with_cases("c", 0.5, 0.5)]
    assert drawn(Lexicase(population)).keys() == {"b"}


def test_the_best_of_a_case_is_sought_among_those_who_passed_the_cases_before():
    # Case 1 leaves a and b, both at 1. On case 2 epsilon is 0, and out, the best of all, has left: b is the better.
    rest = [with_cases(f"rest {number}", 0.0, 0.5) for number in range(4)]
    population = [with_cases("a", 1.0, 0.25), with_cases("b", 1.0, 0.375), with_cases("out", 0.0, 1.0), *rest]
    assert drawn(Lexicase(population)).keys() == {"b", "out"}


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5))
def test_on_one_case_lexicase_draws_all_within_the_median_absolute_deviation_that_scipy_computes(fitness):
    within = np.array(fitness) >= max(fitness) - median_abs_deviation(fitness)
    population = [of(str(number), each) for number, each in enumerate(fitness)]
    assert drawn(Lexicase(population)).keys() == {str(number) for number in np.flatnonzero(within)}


def test_a_loss_that_is_known_by_its_mean_alone_has_it_on_each_case():
    older = Member("older", parse("ce(z)"), 0.75)
    found = drawn(Lexicase([older, with_cases("one", 1.0, 0.0), with_cases("other", 0.0, 1.0)]))
    # Either case: median 0.75, deviations 0, 0.25, 0.75, epsilon 0.25: the older and one specialist pass the first one.
    assert found.keys() == {"older"}


def test_a_tournament_is_won_by_who_dominates():
    population = survivors([of("better", 0.9), of("worse", 0.8)], 2)
    found = drawn(Tournament(population))
    assert 250 < found["better"] < 350  # three pairs of four have the better one


def test_the_young_survive_beside_the_fit_where_age_is_an_objective():
    old, second, young = (0.9, 2, 0), (0.8, 2, 0), (0.3, 2, 5)
    by_fitness = [of(str(each), *each[:2]) for each in (old, second, young)]
    assert names(survivors(by_fitness, 2)) == {str(old), str(second)}
    assert names(survivors([aged(str(each), *each) for each in (old, second, young)], 2)) == {str(old), str(young)}


@pytest.mark.parametrize("objectives", [2, 3])
@given(st.data())
def test_nobody_who_leaves_dominates_one_who_survives(objectives, data):
    points = st.tuples(st.integers(0, 4).map(lambda each: each / 4), st.sampled_from(list(SIZES)), st.integers(0, 3))
    drawn_points = data.draw(st.lists(points, min_size=1, max_size=25))
    everyone = [
        of(str(n), *each[:2]) if objectives == 2 else aged(str(n), *each) for n, each in enumerate(drawn_points)
    ]
    kept = names(survivors(everyone, data.draw(st.integers(1, len(everyone)))))
    goals = {str(n): (each[0], -each[1], each[2])[:objectives] for n, each in enumerate(drawn_points)}
    for staying in kept:
        for leaving in goals.keys() - kept:
            no_worse = all(a >= b for a, b in zip(goals[leaving], goals[staying], strict=True))
            assert not (no_worse and goals[leaving] != goals[staying])


def test_the_front_has_the_fittest_and_whoever_is_simpler_than_all_that_are_fitter():
    population = [of("fit", 0.9, 6), of("long", 0.8, 6), of("middle", 0.7, 4), of("twin", 0.7, 4), of("short", 0.1, 2)]
    assert [each.loss_id for each in front(population)] == ["fit", "middle", "short"]
