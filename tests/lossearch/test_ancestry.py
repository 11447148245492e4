from lossearch.ancestry import Ancestry
from lossearch.member import Member
from primitives.parser import parse


def born(name, generation, *parents):
    return Member(name, parse("ce(z)"), 0.5, parents=parents, generation=generation)


def test_a_loss_is_as_old_as_its_oldest_ancestor():
    ancestry, old, young = Ancestry(10), born("old", 0), born("young", 4)
    ancestry.trace([old, young], [])
    child, grandchild = born("child", 5, "old", "young"), born("of the young", 5, "young")
    ancestry.trace([child, grandchild], [old, young])
    assert [each.origin for each in (old, young, child, grandchild)] == [0, 4, 0, 4]
    assert grandchild.fitness.values == (0.5, 2.0, 4.0)


def test_a_parent_that_left_is_remembered_and_one_that_is_forgotten_counts_as_oldest():
    ancestry = Ancestry(2)
    everyone = [born(str(number), number) for number in range(1, 5)]
    ancestry.trace(everyone, [])
    ancestry.remember(everyone, everyone[:1])
    assert ancestry.left == {"3": 3, "4": 4}
    children = [born("of 4", 6, "4"), born("of 2", 6, "2")]
    ancestry.trace(children, everyone[:1])
    assert [each.origin for each in children] == [4, 1]


def test_of_two_losses_alike_the_younger_dominates():
    ancestry, old, young = Ancestry(10), born("old", 0), born("young", 1)
    ancestry.trace([old, young], [])
    assert young.fitness.dominates(old.fitness)
    assert not old.fitness.dominates(young.fitness)


def test_a_loss_that_migrates_keeps_its_age():
    member = born("old", 3)
    Ancestry(10).trace([member], [])
    moved = member.on_island(1)
    Ancestry(10).trace([moved], [born("other", 0)])
    assert moved.origin == 3
