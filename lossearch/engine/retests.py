"""Retests: the best losses of a search are trained under more seeds, so that none is best by the luck of a few.

The best of thousands of losses under two seeds is flattered (the winner's curse). Those that lead get one more seed
after each generation, and their fitness is the mean over all they have: a lucky one falls back, the next one is asked.

Invariant: who is retested depends on what was told, never on the order in which results arrive.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lossearch.engine.dispatch import Score
from lossearch.evaluators.work import Candidate, candidate_from
from lossearch.results.records import BASELINE
from lossearch.results.statistics.intervals import mean

#: Losses that are kept for retests, for each that is retested after a generation.
KEPT = 4

#: Rounds after the last generation, at most, until all that lead were retested.
LAST_ROUNDS = 5


@dataclass
class Contender:
    """A loss that may be retested: its fitness under the seeds of the search, and under further ones."""

    candidate: Candidate
    first: float  #: mean over the search's own seeds
    more: list[float] = field(default_factory=list)

    def worth(self, seeds: int) -> float:
        """Mean over all seeds; the search has so many of its own."""
        return mean([self.first] * seeds + self.more)


class Retests:
    """The leading losses of a search; ``count`` of them are retested at a time, and each has ``seeds`` seeds before."""

    def __init__(self, count: int, seeds: int) -> None:
        self._count, self._seeds = count, seeds
        self._contenders: dict[str, Contender] = {}
        self._baseline: Contender | None = None

    def told(self, stand: Mapping[Candidate, Score]) -> None:
        """Take in what a generation's candidates are worth, and keep the best of old and new."""
        for candidate, standing in stand.items():
            contender = Contender(candidate, standing.fitness)
            if candidate.name == BASELINE:
                self._baseline = contender
            self._contenders[candidate.loss_id] = contender
        self._contenders = {each.candidate.loss_id: each for each in self._leading(KEPT * self._count)}

    def due(self, untested: bool = False) -> dict[int, list[Candidate]]:
        """Who is to be trained under which seed: those that lead, or of them those that were never retested.

        Cross-entropy goes along, under every seed that somebody gets.
        """
        found: dict[int, list[Candidate]] = {}
        for each in self._leading(self._count):
            if not (untested and each.more):
                found.setdefault(self._seeds + len(each.more), []).append(each.candidate)
        if found and self._baseline is not None:
            known = self._seeds + len(self._baseline.more)
            for seed in range(known, max(found) + 1):
                own = found.setdefault(seed, [])
                own += [self._baseline.candidate] if self._baseline.candidate not in own else []
        return dict(sorted(found.items()))

    def take(self, found: Mapping[Candidate, float | None]) -> dict[str, float | None]:
        """Take in what was found under a seed, None where a training failed, and tell what losses are worth now."""
        worth: dict[str, float | None] = {}
        for candidate, fitness in found.items():
            if self._baseline is not None and candidate == self._baseline.candidate and fitness is not None:
                self._baseline.more.append(fitness)
            contender = self._contenders.get(candidate.loss_id)
            if contender is None:
                continue
            if fitness is None:
                del self._contenders[candidate.loss_id]
                worth[candidate.loss_id] = None
                continue
            if contender is not self._baseline:
                contender.more.append(fitness)
            worth[candidate.loss_id] = contender.worth(self._seeds)
        return worth

    def best(self) -> tuple[str, float] | None:
        """The formula that leads, and what it is worth."""
        leading = self._leading(1)
        return (leading[0].candidate.formula, leading[0].worth(self._seeds)) if leading else None

    def state(self) -> dict[str, Any]:
        """What continues this exactly, as plain JSON data."""
        everyone = [*self._contenders.values(), *([] if self._baseline is None else [self._baseline])]
        return {"contenders": [asdict(each) for each in everyone]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        kept = [_contender(each) for each in state.get("contenders", ())]
        self._baseline = next((each for each in kept if each.candidate.name == BASELINE), None)
        leading = {each.candidate.loss_id: each for each in kept}
        if self._baseline is not None:  # saved twice where it leads as well
            leading[self._baseline.candidate.loss_id] = self._baseline
        self._contenders = leading

    def _leading(self, count: int) -> list[Contender]:
        return sorted(
            self._contenders.values(),
            key=lambda each: (-each.worth(self._seeds), each.candidate.complexity, each.candidate.birth_number),
        )[:count]


def _contender(saved: Mapping[str, Any]) -> Contender:
    return Contender(candidate_from(saved["candidate"]), float(saved["first"]), [float(each) for each in saved["more"]])
