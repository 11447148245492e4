"""Members: tournaments and NSGA-II selection."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lossearch.evolution.members import Member, Tournament, select
from lossearch.primitives.language.parser import parse

SIZES = {2: "ce(z)", 4: "ce(z - y)", 6: "ce(z - 2*y)"}  #: a formula of each size


def of(name, fitness, size=2):
    return Member(name, parse(SIZES[size]), fitness)


def test_formulas_have_the_sizes_of_their_keys():
    assert all(parse(text).size == size for size, text in SIZES.items())


def test_the_dominating_member_wins_a_tournament():
    parents, generator = Tournament(select([of("better", 0.9), of("worse", 0.8)], 2)), random.Random(0)
    wins = Counter(parents.draw(generator).loss_id for _ in range(400))
    assert 250 < wins["better"] < 350  # three pairs of four have the better one


@given(st.data())
def test_no_removed_member_dominates_a_kept_one(data):
    points = st.tuples(st.integers(0, 4).map(lambda number: number / 4), st.sampled_from(list(SIZES)))
    drawn = data.draw(st.lists(points, min_size=1, max_size=25))
    everyone = [of(str(number), *point) for number, point in enumerate(drawn)]
    kept = {member.loss_id for member in select(everyone, data.draw(st.integers(1, len(everyone))))}
    goals = {str(number): (fitness, -size) for number, (fitness, size) in enumerate(drawn)}
    for staying in kept:
        for leaving in goals.keys() - kept:
            no_worse = all(a >= b for a, b in zip(goals[leaving], goals[staying], strict=True))
            assert not (no_worse and goals[leaving] != goals[staying])
