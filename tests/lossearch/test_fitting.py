import json
import math
import random
import statistics

from lossearch.evolution import Birth, Evolution
from lossearch.experiment import EvolutionSettings
from lossearch.fitting import FEWEST, REMEMBERED, Fitting
from lossearch.member import Member
from primitives.formula import Number
from primitives.parser import parse


def member(number, worth=0.5, text="ce({}*cosine)"):
    return Member(f"{text}-{number}", parse(text.format(number)), worth, "learned")


def distance(formula):
    """Of the formula's one number from 2, as a factor."""
    (number,) = (each.value for each in formula.walk() if isinstance(each, Number))
    return abs(math.log(number / 2.0))


def test_numbers_are_proposed_near_those_that_were_worth_most():
    fitting, generator = Fitting(), random.Random(0)
    tried = [member(round(math.exp(generator.uniform(-0.9, 1.7)), 3)) for _ in range(24)]  # in reach of 1.5
    for each in tried:
        each.revalue(1.0 - distance(each.formula))
    fitting.told(tried, tried)
    proposals = [fitting.fitted(member(1.5), generator) for _ in range(60)]
    assert statistics.median(map(distance, proposals)) < 0.25  # 0.7 where numbers are drawn from the whole range


def test_what_other_shapes_and_other_class_weights_were_worth_says_nothing():
    tried = [member(round(1.1**power, 3), 1.0) for power in range(FEWEST)]
    others = [Member("weights", parse("ce(1.5*cosine)"), 0.5, "pedcc"), member(1.5, text="log(ce({}*cosine))")]
    fitting = Fitting()
    fitting.told(tried, [*tried, *others])
    assert [fitting.fitted(each, random.Random(3)) for each in others] == [None, None]
    assert fitting.fitted(tried[4], random.Random(3)) is not None


def test_of_shapes_that_the_population_lost_nothing_is_kept_and_of_others_the_latest():
    fitting = Fitting()
    many = [member(1.0 + number / 100) for number in range(REMEMBERED + 7)]
    gone = member(2, text="log(ce({}*cosine))")
    fitting.told([gone, *many], [many[0]])
    ((_, kept),) = fitting.state()
    assert [loss_id for loss_id, _, _ in kept] == [each.loss_id for each in many[7:]]


def test_a_formula_without_numbers_has_none_to_fit():
    assert Fitting().fitted(Member("plain", parse("ce(z)"), 0.5), random.Random(0)) is None


def test_a_search_that_fits_goes_on_exactly_and_its_births_say_so():
    settings = EvolutionSettings(population=8, seeds=(), constant_fitting=1.0, random_trees=0.0, max_nodes=12)
    seeds = [Birth(parse(text), "known") for text in ("ce(2*z)", "ce(z) + 0.5*sum_c(p*p)", "at_target((1 - p)**0.7)")]

    def live(evolution, fitness):
        born = [evolution.ask() for _ in range(30)]
        evolution.tell([Member(f"id-{each.formula}", each.formula, fitness.random()) for each in born])
        evolution.revalue({evolution.population[0].loss_id: fitness.random()})
        return born

    whole = Evolution(settings, seeds, random.Random(1))
    for _ in range(3):
        live(whole, random.Random(0))
    later = Evolution(settings, seeds, random.Random(2))
    later.restore(json.loads(json.dumps(whole.state())), parse)
    one, other = ([live(each, random.Random(4)) for _ in range(3)] for each in (whole, later))
    assert one == other
    assert "fitting" in {each.birth for births in one for each in births}
