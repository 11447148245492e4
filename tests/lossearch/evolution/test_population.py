"""Evolution of one population: births, limits, selection and saved states."""

import json
import random

import pytest

from lossearch.evolution.members import Member
from lossearch.evolution.population import Birth, Evolution
from lossearch.evolution.trees import to_tree
from lossearch.primitives.analysis.targets import looks_at_target, moves
from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.language.formula import Call
from lossearch.primitives.language.parser import parse
from lossearch.runs.experiment import EvolutionSettings

SETTINGS = EvolutionSettings(population=12, terminals=("p", "y", "z", "cosine"), max_nodes=20, max_depth=7)


def evolution(seed=0, settings=SETTINGS):
    births = [Birth(CATALOG[name].bound(), "known", name=name) for name in settings.seeds]
    return Evolution(settings, births, random.Random(seed))


def live(started, generations, fitness):
    """Ask and tell for some generations, and return all births."""
    born = []
    for _ in range(generations):
        births = [started.ask() for _ in range(15)]
        born += births
        members = [Member(f"id-{birth.formula}", birth.formula, fitness.random()) for birth in births]
        started.tell(members)
    return born


def test_starting_losses_are_born_first_and_unchanged():
    started = evolution()
    first = [started.ask() for _ in SETTINGS.seeds]
    assert [birth.name for birth in first] == list(SETTINGS.seeds)
    assert [birth.formula for birth in first] == [CATALOG[name].bound() for name in SETTINGS.seeds]
    assert not started.has_starting_losses


def test_every_birth_keeps_the_limits():
    for birth in live(evolution(3), 12, random.Random(0)):
        assert birth.formula.size <= SETTINGS.max_nodes
        assert birth.formula.depth <= SETTINGS.max_depth


def test_every_kind_of_variation_is_born_and_names_its_parents():
    born = live(evolution(1), 12, random.Random(0))
    assert {birth.birth for birth in born} == {"known", "random", "crossover", "subtree", "point", "constant"}
    for birth in born:
        parents = {"known": 0, "random": 0, "crossover": 2}.get(birth.birth, 1)
        assert len(birth.parents) == parents


def test_random_trees_use_only_what_the_experiment_allows():
    settings = EvolutionSettings(seeds=(), operators=("add", "mul", "at_target"), terminals=("p",), population=4)
    started = evolution(0, settings)
    for _ in range(30):
        formula = started.ask().formula
        assert {node.operator for node in formula.walk() if isinstance(node, Call)} <= {"add", "mul", "at_target"}
        assert formula.names <= {"p"}


def test_formulas_without_prediction_or_target_are_not_born():
    for birth in live(evolution(4), 12, random.Random(0)):
        assert moves(birth.formula)
        assert birth.birth != "random" or looks_at_target(birth.formula)


def test_a_constant_mutation_changes_one_number_alone():
    settings = SETTINGS.model_copy(
        update={"crossover": 0.0, "subtree_mutation": 0.0, "point_mutation": 0.0, "random_trees": 0.0, "seeds": ()}
    )
    started = evolution(0, settings)
    parent = parse("ce(30*(cosine - 0.35*y))")
    started.tell([Member("parent", parent, 0.9)])
    for _ in range(20):
        child = to_tree(started.ask().formula)
        changed = [(a.value, b.value) for a, b in zip(to_tree(parent), child, strict=True) if a.name != b.name]
        assert len(changed) == 1
        assert all(isinstance(value, float) for value in changed[0])


def test_evolution_depends_on_its_seed_and_not_on_the_global_generator():
    random.seed(1)
    first = live(evolution(5), 6, random.Random(0))
    random.seed(2)
    other = live(evolution(5), 6, random.Random(0))
    assert first == other
    assert first != live(evolution(6), 6, random.Random(0))


def test_the_global_generator_is_left_as_it_was():
    random.seed(3)
    before = random.getstate()
    live(evolution(5), 3, random.Random(0))
    assert random.getstate() == before


def test_an_evolution_continues_exactly_from_its_saved_state():
    whole = evolution(7)
    fitness = random.Random(0)
    live(whole, 4, fitness)
    saved = json.loads(json.dumps(whole.state()))
    later = evolution(0)
    later.restore(saved, parse)
    assert live(later, 5, random.Random(9)) == live(whole, 5, random.Random(9))


def test_a_checkpoint_with_additional_fields_continues():
    whole = evolution(7)
    live(whole, 4, random.Random(0))
    saved = json.loads(json.dumps(whole.state()))
    older = saved | {"generation": 4, "seeds": [], "restarts": {"best": 0.9, "since": 2, "lacking": 0}, "left": {}}
    older["population"] = [member | {"cases": [0.5], "generation": 3, "origin": None} for member in saved["population"]]
    later = evolution(0)
    later.restore(older, parse)
    assert live(later, 5, random.Random(9)) == live(whole, 5, random.Random(9))


def test_selection_keeps_the_pareto_front_of_fitness_and_complexity():
    started = evolution()
    long, short = parse("ce(z) + p*y*z*p + p"), parse("ce(z)")
    members = [Member(str(n), long, 0.5 - n / 100) for n in range(SETTINGS.population)]
    started.tell([*members, Member("best", long, 0.9), Member("simple", short, 0.4)])
    kept = {member.loss_id for member in started.population}
    assert {"best", "simple"} <= kept
    assert len(kept) == SETTINGS.population


def test_limits_that_no_random_tree_can_keep_are_reported():
    settings = EvolutionSettings(seeds=(), operators=("add",), terminals=("p", "y"), max_nodes=3, initial_depth=(2, 2))
    with pytest.raises(ValueError, match="No random tree kept the limits"):
        evolution(0, settings).ask()
