"""Fitness of full trainings under each seed, of all losses at once.

It is what ``fitness_by_seed`` gives of one loss: the mean over the tasks, for seeds that have them all.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lossearch.results.groups import Flags, Places, differs, means

if TYPE_CHECKING:
    from lossearch.results.record_columns import StoredRecords
    from lossearch.results.records import Evaluation


@dataclass(frozen=True)
class SeedFitness:
    """One element for each loss and seed, in the order of the losses."""

    loss: Places
    seed: NDArray[np.int64]
    value: NDArray[np.float64]

    def of(self, loss: int) -> dict[int, float]:
        """Fitness of one loss by seed."""
        start, end = np.searchsorted(self.loss, [loss, loss + 1])
        return dict(zip(self.seed[start:end].tolist(), self.value[start:end].tolist(), strict=True))

    def means(self, losses: int) -> NDArray[np.float64]:
        """Mean over the seeds of each of so many losses, NaN where there are none."""
        starts = np.flatnonzero(differs(self.loss))
        found = np.full(losses, np.nan)
        found[self.loss[starts]] = means(self.value, starts)
        return found


def fitness_of_seeds(evaluations: "StoredRecords[Evaluation]", loss: Places, tasks: int) -> SeedFitness:
    """Fitness of the losses; ``loss`` is that of each evaluation, ``tasks`` how many there are."""
    fitness, has_fitness = evaluations.numbers("fitness")
    seed, has_seed = evaluations.numbers("seed")
    task = evaluations.texts("task").codes
    places = np.flatnonzero(has_fitness & has_seed & ~at_a_rung(evaluations))
    places = places[np.lexsort((task[places], seed[places], loss[places]))]
    is_first = differs(loss[places], seed[places], task[places])
    places = places[np.append(is_first[1:], True)[: len(places)]]  # the last of several, as the sort is stable
    starts = np.flatnonzero(differs(loss[places], seed[places]))
    has_all = np.diff(starts, append=len(places)) == tasks
    first = places[starts][has_all]
    return SeedFitness(loss[first], seed[first], means(fitness[places], starts)[has_all])


def at_a_rung(evaluations: "StoredRecords[Evaluation]") -> Flags:
    """Which trainings were not full ones."""
    (steps, has_steps), (full, has_full) = evaluations.numbers("steps"), evaluations.numbers("full_steps")
    found: Flags = has_steps & has_full & (steps < full)
    return found
