import random

from lossearch.evolution import Birth, Evolution
from lossearch.experiment import EvolutionSettings
from lossearch.member import Member
from lossearch.restarts import Restarts
from primitives.parser import parse

LONG, SHORT = parse("ce(z - 2*y)"), parse("ce(z)")
SETTINGS = EvolutionSettings(population=4, restart_after=2, seeds=("cross_entropy",))


def of(name, fitness, formula=SHORT, **more):
    return Member(name, formula, fitness, **more)


def stagnated():
    """An evolution of four whose best was found in generation 0, after generation 1."""
    evolution = Evolution(SETTINGS, [], random.Random(0))
    seed = of("seed", 0.4, is_seed=True)
    evolution.tell([seed, of("best", 0.9, LONG), of("long", 0.8, LONG), of("longer", 0.7, LONG)])
    evolution.tell([of("late", 0.6, LONG, generation=1)])
    return evolution


def test_a_restart_is_due_when_nothing_better_was_found_for_so_many_generations():
    restarts = Restarts(2)
    restarts.told([of("a", 0.5)], [], 0)
    restarts.told([of("b", 0.5)], [], 1)
    assert not restarts.due(1)
    restarts.told([of("c", 0.6)], [], 2)
    assert not restarts.due(3)
    assert restarts.due(4)


def test_without_the_setting_no_restart_is_due():
    restarts = Restarts(0)
    restarts.told([of("a", 0.5)], [], 0)
    assert not restarts.due(1_000)


def test_the_front_stays_and_all_else_leaves():
    evolution = stagnated()
    assert len(evolution.population) == 4
    evolution.tell([of("later", 0.6, LONG, generation=2)])
    assert [each.loss_id for each in evolution.population] == ["best", "seed"]


def test_half_of_the_population_stays_at_most():
    front = [of("a", 0.9, parse("ce(z - 2*y)")), of("b", 0.8, parse("ce(z - y)")), of("c", 0.7, parse("ce(z)"))]
    restarts = Restarts(1)
    assert restarts.elite(front, 4, 1) == front[:2]
    assert restarts.lacking == 2


def test_after_a_restart_random_trees_and_children_of_seeds_are_born_until_as_many_are_told_as_left():
    evolution = stagnated()
    evolution.tell([of("later", 0.6, LONG, generation=2)])
    births = [evolution.ask() for _ in range(40)]
    assert {each.birth == "random" for each in births} == {True, False}
    assert all(set(each.parents) <= {"seed"} for each in births)
    evolution.tell([of("newcomer", 0.1, generation=3), of("of the old", 0.1, parents=("best",), generation=3)])
    assert all(set(evolution.ask().parents) <= {"seed"} for _ in range(40))
    evolution.tell([of("of a seed", 0.1, parents=("seed",), generation=3)])
    assert any("best" in evolution.ask().parents for _ in range(40))


def test_the_next_restart_waits_for_the_newcomers_and_as_many_generations_again():
    restarts = Restarts(2)
    restarts.told([of("a", 0.5)], [], 0)
    restarts.elite([of("a", 0.5)], 2, 2)
    restarts.told([], [], 9)
    assert not restarts.due(9)  # a newcomer is awaited
    restarts.told([of("b", 0.1)], [], 3)
    assert not restarts.due(3)
    assert restarts.due(4)


def test_an_older_checkpoint_counts_from_its_first_generation_on():
    restarts = Restarts(2)
    restarts.restore({}, [of("a", 0.5)])
    restarts.told([of("b", 0.4)], [], 20)
    assert not restarts.due(21)
    assert restarts.due(22)


def test_a_best_that_was_lucky_is_no_measure_for_what_comes():
    evolution = stagnated()
    evolution.revalue({"best": 0.5, "long": 0.5, "longer": 0.5})
    evolution.tell([of("better", 0.7, LONG, generation=2)])
    assert len(evolution.population) == 4  # 0.7 was no improvement on 0.9, and is one on 0.6


def test_without_trained_seeds_newcomers_are_random_trees():
    evolution = Evolution(SETTINGS, [Birth(SHORT, "known")], random.Random(0))
    evolution.bear([])
    evolution.tell([of("a", 0.9), of("b", 0.9)])
    evolution.tell([of("c", 0.1, generation=2)])
    assert {evolution.ask().birth for _ in range(20)} == {"random"}
