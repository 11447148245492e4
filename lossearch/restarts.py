"""Restarts: a population that has found nothing better for a while begins anew around its best.

After Krishnakumar, "Micro-genetic algorithms for stationary and non-stationary function optimization", SPIE 1989: the
best stays, and all else is replaced by newcomers. Here the best is the Pareto front, or the fitter part of it.
"""

import math
from collections.abc import Sequence
from typing import Any

from lossearch.member import Member
from lossearch.selection import front


class Restarts:
    """When a population begins anew, and how many newcomers it still lacks; ``after`` 0 generations: never."""

    def __init__(self, after: int) -> None:
        self._after = after
        self._best = -math.inf
        self._since: int | None = None  # the generation of the best fitness, or of the last restart
        self.lacking = 0

    def told(self, members: Sequence[Member], seeds: Sequence[Member], generation: int) -> None:
        """Take in what was trained by a generation; newcomers are those without parents, and children of seeds."""
        known = {each.loss_id for each in seeds}
        self.lacking = max(0, self.lacking - sum(known.issuperset(each.parents) for each in members))
        best = max((each.worth for each in members), default=self._best)
        if best > self._best or self._since is None:
            self._best, self._since = max(best, self._best), generation

    def due(self, generation: int) -> bool:
        """Whether nothing better was found for so many generations, and no newcomers are awaited."""
        since = generation if self._since is None else self._since
        return 0 < self._after <= generation - since and not self.lacking

    def elite(self, population: Sequence[Member], size: int, generation: int) -> list[Member]:
        """Begin anew: whom of a population of this size at most stays, half of it at most."""
        kept = front(population)[: max(1, size // 2)]
        self._since, self.lacking = generation, size - len(kept)
        return kept

    def state(self) -> dict[str, Any]:
        """What continues this exactly, as plain JSON data."""
        return {"best": None if self._best == -math.inf else self._best, "since": self._since, "lacking": self.lacking}

    def restore(self, state: dict[str, Any], population: Sequence[Member]) -> None:
        """Continue from a saved state; an older one knows nothing, and its population is the best so far."""
        self.revalued(population)
        if state.get("best") is not None:
            self._best = float(state["best"])
        self._since, self.lacking = state.get("since"), int(state.get("lacking", 0))

    def revalued(self, population: Sequence[Member]) -> None:
        """Measure what comes by what the population is worth now: a best that was lucky is no measure."""
        self._best = max((each.worth for each in population), default=-math.inf)
