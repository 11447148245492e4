import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossearch import niches
from lossearch.evolution import Evolution
from lossearch.experiment import EvolutionSettings
from lossearch.member import Member
from lossearch.niches import Niches, behaviours, crowded_out
from primitives.parser import parse


def at(*degrees):
    """Directions in a plane."""
    return torch.tensor([[math.cos(math.radians(each)), math.sin(math.radians(each))] for each in degrees])


def within(degrees):
    """The cosine distance of so many degrees."""
    return 1.0 - math.cos(math.radians(degrees))


def of(text, fitness, class_weights=None):
    return Member(f"{text} [{class_weights}]", parse(text), fitness, class_weights)


@pytest.mark.parametrize(
    ("capacity", "leaving"),
    [(1, [False, True, True, False, False]), (2, [False, False, True, False, False]), (3, [False] * 5)],
)
def test_the_best_of_a_niche_keep_their_places(capacity, leaving):
    # Niches of 12 degrees. At capacity 1 the one at 20 degrees stays: those within 12 degrees of it have left.
    assert crowded_out(at(0, 5, 10, 20, 90), within(12), capacity).tolist() == leaving


@given(
    st.lists(st.floats(0.0, 360.0), min_size=1, max_size=20),
    st.floats(1.0, 60.0),
    st.integers(1, 3),
)
def test_who_stays_has_room_and_who_leaves_found_a_niche_full(degrees, radius, capacity):
    directions = at(*degrees)
    leaves = crowded_out(directions, within(radius), capacity).tolist()
    near = (1.0 - directions @ directions.T < within(radius)).tolist()
    for place, left in enumerate(leaves):
        later = [each for each in range(place + 1, len(degrees)) if near[place][each]]
        if not left:
            assert sum(not leaves[each] for each in later) < capacity
        else:
            assert any(near[each][place] and not leaves[each] for each in range(place))


def test_many_losses_are_compared_part_by_part(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(60, 3, generator=generator), dim=1)
    at_once = crowded_out(directions, 0.1, 2).tolist()
    monkeypatch.setattr(niches, "_AT_ONCE", 7 * 60)
    assert crowded_out(directions, 0.1, 2).tolist() == at_once
    assert 0 < sum(at_once) < 60


def test_a_factor_a_constant_and_another_way_of_writing_change_no_behaviour():
    texts = ("ce(z)", "3*ce(z) + 7", "-at_target(log(p))", "lse_c(z) - at_target(z)")
    one, *others = behaviours([of(text, 0.5) for text in texts])
    assert all(float(one[1] @ each[1]) == pytest.approx(1.0, abs=1e-12) for each in others)
    (opposite,) = behaviours([of("-ce(z)", 0.5)])
    assert float(one[1] @ opposite[1]) == pytest.approx(-1.0, abs=1e-12)


def test_losses_over_embeddings_share_no_niche_with_others_nor_with_other_class_weights():
    texts = [("ce(z)", None), ("ce(16*cosine)", "learned"), ("ce(16*cosine)", "pedcc"), ("progress*ce(z)", None)]
    members = [of(text, 0.5, weights) for text, weights in texts]
    assert Niches(2.1, 1).cleared(members) == members


def test_a_loss_without_a_gradient_has_a_niche_of_its_own():
    flat = [of("0*ce(z)", 0.9), of("1 + 0*p", 0.8)]
    assert behaviours(flat) == [None, None]
    assert Niches(2.0, 1).cleared(flat) == flat


def test_the_simpler_of_equals_keeps_its_place():
    simple, long = of("ce(z)", 0.5), of("ce(z) + 7", 0.5)
    assert Niches(0.01, 1).cleared([long, simple]) == [simple]


def test_twenty_rescalings_of_one_curve_do_not_fill_the_population():
    rescaled = [of(f"ce({1 + number / 1000}*z)", 0.9 - number / 1000) for number in range(20)]
    others = [of(text, 0.3) for text in ("square(p - y)", "abs(p - y)", "ce(30*p)")]
    settings = EvolutionSettings(population=10, niche_radius=0.002, niche_capacity=2)
    evolution = Evolution(settings, [], random.Random(0))
    evolution.tell([*rescaled, *others])
    assert {each.loss_id for each in evolution.population} == {each.loss_id for each in [*rescaled[:2], *others]}
    plain = Evolution(settings.model_copy(update={"niche_radius": 0.0}), [], random.Random(0))
    plain.tell([*rescaled, *others])
    assert sum(each in rescaled for each in plain.population) > 5


def test_each_behaviour_is_computed_once(monkeypatch):
    seen = []
    monkeypatch.setattr(niches, "behaviours", lambda members: (seen.extend(members), behaviours(members))[1])
    kept, members = Niches(0.001, 1), [of("ce(z)", 0.9), of("square(p - y)", 0.8)]
    kept.cleared(members)
    kept.cleared([*members, of("abs(p - y)", 0.1)])
    assert [each.loss_id for each in seen] == ["ce(z) [None]", "square(p - y) [None]", "abs(p - y) [None]"]
