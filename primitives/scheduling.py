"""Scheduling: which nodes of a joint program one call computes, and in which order."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from primitives.joint_program import Node


def scheduled(nodes: Sequence[Node], key_of: Callable[[Node], Any], *, patient: bool = False) -> list[list[int]]:
    """Groups of nodes of one key that one call computes, in an order in which their arguments are there.

    Of the calls that could be next, the one for the most nodes is. A ``patient`` schedule takes one that no other
    node could join later, if there is one, and of several the one furthest from a formula's value: fewer groups, but
    the order in which a gradient's contributions are added up is another.
    """
    live = [index for index, node in enumerate(nodes) if node.needs_value or node.has_gradient]
    keys = {index: key_of(nodes[index]) for index in live}
    consumers: dict[int, list[int]] = defaultdict(list)
    missing: dict[int, int] = {}
    ready: dict[Any, list[int]] = defaultdict(list)
    waiting = Counter(keys.values())  # nodes of each key that are in no group yet
    for index in live:
        inner = {each.index for each in nodes[index].arguments if each.source == "node"} & keys.keys()
        missing[index] = len(inner)
        for each in inner:
            consumers[each].append(index)
        if not inner:
            ready[keys[index]].append(index)
    height = _heights(live, consumers) if patient else {}

    def preference(key: Any) -> Any:
        group = ready[key]
        return (len(group) == waiting[key], max(height[index] for index in group)) if patient else len(group)

    groups = []
    while ready:
        key = max(ready, key=preference)
        group = ready.pop(key)
        waiting[key] -= len(group)
        groups.append(group)
        for index in group:
            for consumer in consumers[index]:
                missing[consumer] -= 1
                if missing[consumer] == 0:
                    ready[keys[consumer]].append(consumer)
    return groups


def _heights(live: Sequence[int], consumers: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Length of the longest way from each node to a formula's value."""
    height: dict[int, int] = {}
    for index in reversed(live):
        height[index] = 1 + max((height[each] for each in consumers.get(index, ())), default=0)
    return height
