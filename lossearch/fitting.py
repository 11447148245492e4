"""Fitting: better numbers for a formula whose shape was evaluated with others, by what those were worth.

Invariant: what is proposed depends on what was told and on the generator alone.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from lossearch.member import Member
from lossearch.tuning import proposed
from lossearch.variation import rounded
from primitives.formula import Formula, FormulaError

#: Numbers of one shape that are remembered, the latest.
REMEMBERED = 50

#: Of which there must be so many before they say where to look.
FEWEST = 10

#: A formula with names in the place of its numbers, and where its class weights come from.
Shape = tuple[str, str | None]


class Fitting:
    """What the numbers of formulas were worth, by their shape."""

    def __init__(self) -> None:
        self._tried: dict[Shape, dict[str, tuple[list[float], float]]] = {}

    def told(self, members: Iterable[Member], population: Iterable[Member]) -> None:
        """Take in what members are worth; of shapes that the population lacks nothing is kept."""
        for member in members:
            if member.numbers:
                own = self._tried.setdefault(_shape(member), {})
                own[member.loss_id] = [each.default for each in member.numbers], member.worth
                if len(own) > REMEMBERED:
                    del own[next(iter(own))]
        alive = {_shape(each) for each in population}
        self._tried = {shape: own for shape, own in self._tried.items() if shape in alive}

    def fitted(self, parent: Member, generator: random.Random) -> Formula | None:
        """The parent with other numbers, near its own; None where too few were tried, or the language forbids them."""
        names = [each.name for each in parent.numbers]
        tried = self._tried.get(_shape(parent), {}).values()
        seen = [
            (dict(zip(names, values, strict=True)), worth)
            for values, worth in tried
            if all(each.low <= value <= each.high for each, value in zip(parent.numbers, values, strict=True))
        ]
        if len(seen) < FEWEST:
            return None
        settings = proposed(parent.numbers, seen, generator.getrandbits(32))
        try:
            return parent.named.bind({name: rounded(value) for name, value in settings.items()})
        except FormulaError:
            return None

    def state(self) -> list[Any]:
        """What restores it, as plain JSON data."""
        return [[shape, [[loss_id, *tried] for loss_id, tried in own.items()]] for shape, own in self._tried.items()]

    def restore(self, state: Sequence[Any]) -> None:
        """Continue from a saved state."""
        self._tried = {
            (form, weights): {loss_id: (values, worth) for loss_id, values, worth in own}
            for (form, weights), own in state
        }


def _shape(member: Member) -> Shape:
    return str(member.named), member.class_weights
