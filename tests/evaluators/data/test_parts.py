"""Names are cut into parts that hold each name once, and adding a name moves few others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossearch.evaluators.data.parts import HELD_OUT, SHARES, cut

NAMES = st.sets(st.text(max_size=5), max_size=60)


@pytest.mark.parametrize("shares", [SHARES, HELD_OUT])
@given(NAMES)
def test_every_name_is_in_one_part_and_no_part_is_empty_if_there_are_enough(shares, names):
    parts = cut(names, shares)
    assert len(parts) == len(shares)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert min(map(len, parts)) >= (len(names) >= len(shares))


@pytest.mark.parametrize("shares", [SHARES, HELD_OUT])
@given(NAMES, st.text(min_size=6, max_size=6))
def test_one_more_name_moves_at_most_one_other_over_each_border(shares, names, more):
    before, after = (
        {name: k for k, part in enumerate(cut(all, shares)) for name in part} for all in (names, {*names, more})
    )
    assert sum(after[name] != part for name, part in before.items()) <= len(shares) - 1


def test_parts_have_their_shares():
    names = [f"{number:03d}.png" for number in range(200)]
    assert [len(part) for part in cut(names, SHARES)] == [100, 50, 50]
    assert [len(part) for part in cut(names, HELD_OUT)] == [180, 20]
    assert cut(names, SHARES) == cut(reversed(names), SHARES)
    assert sorted(cut(names, SHARES)[0]) != names[:100]
