"""Isolation: work on many items at once, in which one that fails harms no other."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def each_apart(work: Callable[[Sequence[Item]], Sequence[Found]], items: Sequence[Item]) -> list[Found | Exception]:
    """What the work finds for each item, or the error that the item alone raises.

    Where the work on many fails, it is done on their halves.
    """
    try:
        return list(work(items)) if items else []
    except Exception as error:
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return [*each_apart(work, items[:half]), *each_apart(work, items[half:])]
