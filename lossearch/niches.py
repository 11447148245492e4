"""Niches: losses that behave alike share a place in the population, however their formulas are written.

How a loss behaves is the direction of its gradient on the probe, as for fingerprints. Survival is by clearing
(Petrowski, "A clearing procedure as a niching method for genetic algorithms", ICEC 1996): the best of a niche keep
their places, and the others leave.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from evaluators.evaluation import one_thread
from lossearch.isolation import each_apart
from lossearch.member import Member
from primitives.probe import responses

#: Formulas that are looked at together.
_TOGETHER = 256

#: Similarities that are computed at once, at most.
_AT_ONCE = 4_000_000

#: The kind of a behaviour, and its direction, [numbers in the gradient]; other kinds are never alike.
Behaviour = tuple[str, Tensor]


class Niches:
    """Clears populations: so many losses at most within a cosine distance below the radius of a fitter one."""

    def __init__(self, radius: float, capacity: int) -> None:
        self._radius, self._capacity = radius, capacity
        self._behaviours: dict[str, Behaviour | None] = {}  # by the id of the loss, of those that stay

    def cleared(self, members: Sequence[Member]) -> list[Member]:
        """Members that have a place, in their order; one without a gradient has a niche of its own."""
        with one_thread():  # the others are the workers'
            self._look_at(members)
            kinds: dict[str, list[tuple[Member, Tensor]]] = {}
            for member in sorted(members, key=lambda each: (-each.worth, each.formula.size)):
                behaviour = self._behaviours[member.loss_id]
                if behaviour is not None:
                    kinds.setdefault(behaviour[0], []).append((member, behaviour[1]))
            leaving = {id(member) for of_kind in kinds.values() for member in self._crowded_out(of_kind)}
        staying = [each for each in members if id(each) not in leaving]
        self._behaviours = {each.loss_id: self._behaviours[each.loss_id] for each in staying}
        return staying

    def _crowded_out(self, ranked: Sequence[tuple[Member, Tensor]]) -> list[Member]:
        """Those of one kind, the best first, that find their niche full."""
        found = crowded_out(torch.stack([direction for _, direction in ranked]), self._radius, self._capacity)
        return [member for (member, _), leaves in zip(ranked, found.tolist(), strict=True) if leaves]

    def _look_at(self, members: Sequence[Member]) -> None:
        new = [each for each in members if each.loss_id not in self._behaviours]
        for start in range(0, len(new), _TOGETHER):
            together = new[start : start + _TOGETHER]
            self._behaviours |= zip((each.loss_id for each in together), behaviours(together), strict=True)


def behaviours(members: Sequence[Member]) -> list[Behaviour | None]:
    """How losses behave; None where the gradient is zero or not finite."""
    found = each_apart(lambda some: responses(some, target="hard"), [each.formula for each in members])
    return [
        None if isinstance(response, Exception) else _behaviour(member, response[1])
        for member, response in zip(members, found, strict=True)
    ]


def _behaviour(member: Member, gradient: Tensor) -> Behaviour | None:
    size = float(gradient.norm())
    if not math.isfinite(size) or size == 0.0:
        return None
    return f"{member.class_weights or 'logits'}-{len(gradient)}", gradient / size


def crowded_out(directions: Tensor, radius: float, capacity: int) -> Tensor:
    """Which of some directions [losses, numbers], the best first and each of length 1, find their niche full."""
    count = len(directions)
    leaves = torch.zeros(count, dtype=torch.bool)
    rows = max(1, _AT_ONCE // count)
    for start in range(0, count, rows):
        near = 1.0 - directions[start : start + rows] @ directions.T < radius
        for row in torch.nonzero(near.sum(1) > capacity).flatten().tolist():  # the others have room for all near them
            place = start + row
            if not leaves[place]:
                later = torch.nonzero(near[row, place + 1 :] & ~leaves[place + 1 :]).flatten() + place + 1
                leaves[later[capacity - 1 :]] = True
    return leaves
