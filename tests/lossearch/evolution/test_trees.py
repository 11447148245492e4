"""Trees: growing and varying formulas as DEAP trees."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossearch.evolution.trees import Trees, from_tree, to_tree
from lossearch.primitives.language.formula import Call
from lossearch.primitives.language.parser import parse
from lossearch.runs.experiment import EvolutionSettings
from tests.primitives.strategies import formulas

TREES = Trees(EvolutionSettings(terminals=("p", "y", "z", "cosine")))


@given(formulas(max_leaves=30))
def test_a_formula_becomes_a_deap_tree_and_back(formula):
    assert from_tree(to_tree(formula)) == formula


@given(st.integers(0, 2**32))
def test_grown_trees_keep_depth_and_vocabulary_and_leave_the_global_generator(seed):
    before = random.getstate()
    generator, trees = random.Random(seed), Trees(EvolutionSettings(operators=("add", "at_target"), terminals=("p",)))
    grown = (trees.grow(generator) for _ in range(500))
    formula = next(tree for tree in grown if tree is not None)
    assert random.getstate() == before
    assert formula.depth <= 5
    assert formula.names <= {"p"}
    assert {node.operator for node in formula.walk() if isinstance(node, Call)} <= {"add", "at_target"}


@pytest.mark.parametrize("how", ["crossover", "subtree", "point", "constant"])
@given(formulas(max_leaves=10), formulas(max_leaves=10), st.integers(0, 2**32))
def test_a_variation_depends_on_its_generator_alone_and_leaves_its_parents(how, one, other, seed):
    parents = [one, other] if how == "crossover" else [one]
    texts = [str(parent) for parent in parents]
    first = TREES.vary(how, parents, random.Random(seed))
    random.random()
    assert TREES.vary(how, parents, random.Random(seed)) == first
    assert [str(parent) for parent in parents] == texts


def test_a_crossover_of_one_leaf_takes_the_other_parent_or_a_part_of_it():
    giver = parse("ce(z) + p")
    children = {str(TREES.vary("crossover", [parse("y"), giver], random.Random(seed))) for seed in range(60)}
    assert children == {str(node) for node in giver.walk()}


def test_trees_refuse_other_kinds_of_variation():
    assert [
        kind for kind in ("crossover", "subtree", "point", "constant", "family", "hoist") if TREES.can_vary(kind)
    ] == [*("crossover", "subtree", "point", "constant")]
