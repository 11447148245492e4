"""Scheduling: the nodes of a joint program that one call computes, and the order of the calls."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lossearch.primitives.batched.joint_program import Node


def schedule(nodes: Sequence[Node], key_of: Callable[[Node], Any], *, patient: bool = False) -> list[list[int]]:
    """Group nodes of one key, so that one call computes a group. Arguments come before the calls that take them.

    Of the groups that could be next, the largest is. A ``patient`` schedule prefers a group that no other node could
    join later, and of several such groups the one furthest from a formula's value. That makes fewer groups, but adds up
    the contributions to a gradient in another order.
    """
    keys = {index: key_of(node) for index, node in enumerate(nodes) if node.needs_value or node.has_gradient}
    inner = {
        index: {argument.index for argument in nodes[index].arguments if argument.source == "node"} & keys.keys()
        for index in keys
    }
    consumers = _consumers(inner)
    height = _heights(list(keys), consumers) if patient else {}
    missing = {index: len(arguments) for index, arguments in inner.items()}
    waiting = Counter(keys.values())  # nodes of each key that have no group yet
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
        for consumer in (consumer for index in group for consumer in consumers.get(index, ())):
            missing[consumer] -= 1
            if missing[consumer] == 0:
                ready[keys[consumer]].append(consumer)
    return groups


def _consumers(inner: Mapping[int, Iterable[int]]) -> Mapping[int, Sequence[int]]:
    """Return the nodes that take each node as an argument."""
    consumers: dict[int, list[int]] = {}
    for index, arguments in inner.items():
        for argument in arguments:
            consumers.setdefault(argument, []).append(index)
    return consumers


def _heights(live: Sequence[int], consumers: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Return length of the longest path from each node to a formula's value."""
    height: dict[int, int] = {}
    for index in reversed(live):
        height[index] = 1 + max((height[consumer] for consumer in consumers.get(index, ())), default=0)
    return height
