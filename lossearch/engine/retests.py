"""Retests: train the best losses of a search under more seeds, so that none leads by the luck of a few seeds.

The best of thousands of losses under two seeds looks better than it is (the winner's curse). The leading losses get
one more seed after each generation, and their fitness is the mean over all their seeds. So a lucky loss falls back, and
the next one is retested.

Invariant: which losses are retested depends on their fitness, never on the order in which results arrive.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lossearch.engine.score import Score
from lossearch.evaluators.work import Candidate, candidate_from
from lossearch.results.records import BASELINE
from lossearch.results.statistics.intervals import mean

#: Losses kept as contenders for each loss that is retested after a generation.
CONTENDERS_PER_RETEST = 4

#: Largest number of rounds after the last generation, in which leading losses that had no retest get one.
LAST_ROUNDS = 5


@dataclass
class Contender:
    """A loss that may be retested: its fitness under the seeds of the search, and under each further seed."""

    candidate: Candidate
    first: float  #: mean over the seeds of the search
    more: list[float] = field(default_factory=list)

    def mean_fitness(self, num_seeds: int) -> float:
        """Average the fitness over all seeds; ``num_seeds`` of them are the search's own."""
        return mean([self.first] * num_seeds + self.more)


class Retests:
    """The leading losses of a search.

    ``count`` losses are retested at a time. Every loss already has the ``seeds`` seeds of the search.
    """

    def __init__(self, count: int, seeds: int) -> None:
        self._count, self._num_seeds = count, seeds
        self._contenders: dict[str, Contender] = {}
        self._baseline: Contender | None = None
        self.failed: set[str] = set()  #: ids of the losses that failed in a retest

    def add(self, scores: Mapping[Candidate, Score]) -> None:
        """Add a generation's candidates, and keep the best of old and new."""
        for candidate, score in scores.items():
            contender = Contender(candidate, score.fitness)
            if candidate.name == BASELINE:
                self._baseline = contender
            self._contenders[candidate.loss_id] = contender
        leading = self._find_leading(CONTENDERS_PER_RETEST * self._count)
        self._contenders = {contender.candidate.loss_id: contender for contender in leading}

    def due(self, untested: bool = False) -> dict[int, list[Candidate]]:
        """Return the candidates to train by seed index: the leading losses, or those of them that had no retest.

        Cross-entropy gets every seed that another loss gets.
        """
        due: dict[int, list[Candidate]] = {}
        for contender in self._find_leading(self._count):
            if not (untested and contender.more):
                due.setdefault(self._num_seeds + len(contender.more), []).append(contender.candidate)
        if due and self._baseline is not None:
            for seed in range(self._num_seeds + len(self._baseline.more), max(due) + 1):
                candidates = due.setdefault(seed, [])
                if self._baseline.candidate not in candidates:
                    candidates.append(self._baseline.candidate)
        return dict(sorted(due.items()))

    def record(self, fitness: Mapping[Candidate, float | None]) -> dict[str, float | None]:
        """Record the fitness under one more seed, None if a training failed. Return the new means by loss id."""
        means: dict[str, float | None] = {}
        for candidate, value in fitness.items():
            if value is None:
                self.failed.add(candidate.loss_id)
            if self._baseline is not None and candidate == self._baseline.candidate and value is not None:
                self._baseline.more.append(value)
            contender = self._contenders.get(candidate.loss_id)
            if contender is None:
                continue
            if value is None:
                del self._contenders[candidate.loss_id]
                means[candidate.loss_id] = None
                continue
            if contender is not self._baseline:
                contender.more.append(value)
            means[candidate.loss_id] = contender.mean_fitness(self._num_seeds)
        return means

    def best(self) -> tuple[str, float] | None:
        """Return the formula of the leading loss and its mean fitness; None before the first generation."""
        leading = self._find_leading(1)
        return (leading[0].candidate.formula, leading[0].mean_fitness(self._num_seeds)) if leading else None

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON data, for ``restore``."""
        contenders = [*self._contenders.values(), *([] if self._baseline is None else [self._baseline])]
        return {"contenders": [asdict(contender) for contender in contenders], "failed": sorted(self.failed)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        self.failed = set(map(str, state.get("failed", ())))
        saved = [_restore_contender(plain) for plain in state.get("contenders", ())]
        self._baseline = next((contender for contender in saved if contender.candidate.name == BASELINE), None)
        self._contenders = {contender.candidate.loss_id: contender for contender in saved}
        if self._baseline is not None:  # a leading baseline is saved twice: both must be one object
            self._contenders[self._baseline.candidate.loss_id] = self._baseline

    def _find_leading(self, count: int) -> list[Contender]:
        """Return the best contenders, best first; of equals, the simpler one comes first."""
        return sorted(
            self._contenders.values(),
            key=lambda contender: (
                -contender.mean_fitness(self._num_seeds),
                contender.candidate.complexity,
                contender.candidate.birth_number,
            ),
        )[:count]


def _restore_contender(saved: Mapping[str, Any]) -> Contender:
    return Contender(
        candidate_from(saved["candidate"]), float(saved["first"]), [float(value) for value in saved["more"]]
    )
