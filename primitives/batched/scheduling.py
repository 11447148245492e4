"""Scheduling: which nodes of a joint program one call computes, and in which order."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lossearch.primitives.batched.joint_program import Node


def scheduled(nodes: Sequence[Node], key_of: Callable[[Node], Any], *, patient: bool = False) -> list[list[int]]:
    """Groups of nodes of one key that one call computes, in an order in which their arguments are there.

    Of the calls that could be next, the one for the most nodes is. A ``patient`` schedule takes one that no other
    node could join later, if there is one, and of several the one furthest from a formula's value: fewer groups, but
    the order in which a gradient's contributions are added up is another.
    """
    keys = {index: key_of(node) for index, node in enumerate(nodes) if node.needs_value or node.has_gradient}
    inner = {
        index: {each.index for each in nodes[index].arguments if each.source == "node"} & keys.keys() for index in keys
    }
    consumers = _consumers(inner)
    height = _heights(list(keys), consumers) if patient else {}
    missing = {index: len(each) for index, each in inner.items()}
    waiting = Counter(keys.values())  # nodes of each key that are in no group yet
    ready: dict[Any, list[int]] = defaultdict(list)
    for index, key in keys.items():
        if not missing[index]:
            ready[key].append(index)

    def preference(key: Any) -> Any:
        group = ready[key]
        return (len(group) == waiting[key], max(height[index] for index in group)) if patient else len(group)

    groups = []
    while ready:
        key = max(ready, key=preference)
        group = ready.pop(key)
        waiting[key] -= len(group)
        groups.append(group)
        for consumer in (each for index in group for each in consumers.get(index, ())):
            missing[consumer] -= 1
            if missing[consumer] == 0:
                ready[keys[consumer]].append(consumer)
    return groups


def _consumers(inner: Mapping[int, Iterable[int]]) -> Mapping[int, Sequence[int]]:
    """The nodes that each node is an argument of."""
    found: dict[int, list[int]] = {}
    for index, arguments in inner.items():
        for each in arguments:
            found.setdefault(each, []).append(index)
    return found


def _heights(live: Sequence[int], consumers: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Length of the longest way from each node to a formula's value."""
    height: dict[int, int] = {}
    for index in reversed(live):
        height[index] = 1 + max((height[each] for each in consumers.get(index, ())), default=0)
    return height
