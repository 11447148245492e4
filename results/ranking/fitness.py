"""Fitness of the losses under each seed, from columns of all evaluations at once.

The fitness of a loss under a seed is the mean over the tasks of its full trainings. It exists only if the loss was
trained on every task under that seed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossearch.results.statistics.intervals import mean
from lossearch.results.storage.columns import Flags, Places

if TYPE_CHECKING:
    from lossearch.results.records import Evaluation
    from lossearch.results.storage.columns import StoredRecords


class SeedFitness:
    """Fitness of each loss under each seed; losses are numbers from 0."""

    def __init__(self, evaluations: "StoredRecords[Evaluation]", loss: Places, num_losses: int, num_tasks: int) -> None:
        """Take the loss of each evaluation, [evaluations], and the numbers of losses and tasks of the run."""
        fitness, has_fitness = evaluations.numbers("fitness")
        seed, has_seed = evaluations.numbers("seed")
        task, self._tasks = evaluations.texts("task").codes, evaluations.texts("task").values()
        full = np.flatnonzero(has_fitness & has_seed & ~is_at_a_rung(evaluations))
        full = full[np.lexsort((task[full], seed[full], loss[full]))]
        # Of several trainings alike the last one written counts: the sort is stable, so it ends their run.
        ends = np.append(starts_of_runs(loss[full], seed[full], task[full])[1:], len(full)) - 1
        full = full[ends] if len(full) else full
        self._training_task, self._training_fitness = task[full], fitness[full]

        starts = starts_of_runs(loss[full], seed[full])
        has_all_tasks = np.diff(starts, append=len(full)) == num_tasks
        first = full[starts][has_all_tasks]
        self._loss, self._seed = loss[first], seed[first]
        self._fitness = means_of_runs(self._training_fitness, starts)[has_all_tasks]

        self._bounds = _bounds_of_groups(self._loss, num_losses)  #: of the seeds of each loss
        self._training_bounds = _bounds_of_groups(loss[full], num_losses)  #: of the trainings of each loss

    def by_seed(self, loss: int) -> dict[int, float]:
        """Return the fitness of a loss by seed."""
        seeds = slice(self._bounds[loss], self._bounds[loss + 1])
        return dict(zip(self._seed[seeds].tolist(), self._fitness[seeds].tolist(), strict=True))

    def on_task(self, loss: int, task: str) -> float:
        """Return the mean fitness of a loss over its seeds on one task."""
        trainings = slice(self._training_bounds[loss], self._training_bounds[loss + 1])
        is_on_task = self._training_task[trainings] == self._tasks.index(task)
        return mean(self._training_fitness[trainings][is_on_task].tolist())

    def means(self) -> NDArray[np.float64]:
        """Return the mean fitness over the seeds, [losses]; NaN for a loss without fitness."""
        starts = starts_of_runs(self._loss)
        means = np.full(len(self._bounds) - 1, np.nan)
        means[self._loss[starts]] = means_of_runs(self._fitness, starts)
        return means


def is_at_a_rung(evaluations: "StoredRecords[Evaluation]") -> Flags:
    """Return True for the trainings that stopped at a rung."""
    (steps, has_steps), (full_steps, has_full_steps) = evaluations.numbers("steps"), evaluations.numbers("full_steps")
    is_stopped: Flags = has_steps & has_full_steps & (steps < full_steps)
    return is_stopped


def starts_of_runs(*keys: NDArray[Any]) -> Places:
    """Return the places where a run of equal keys begins; the keys are sorted."""
    is_new = np.ones(len(keys[0]), dtype=bool)
    is_new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(is_new)


def _bounds_of_groups(groups: Places, count: int) -> Places:
    """Return where each group begins in an array of sorted groups, and after it the end of the last, [count + 1]."""
    return np.cumsum(np.append(0, np.bincount(groups, minlength=count)))


def means_of_runs(values: NDArray[np.float64], starts: Places) -> NDArray[np.float64]:
    """Return the mean of each run of values, [runs]; a run begins at each of the starts."""
    if len(starts) == len(values):
        return values
    # Extended precision, so that losses with the same values in another order of seeds have the same mean.
    sums = np.add.reduceat(values.astype(np.longdouble), starts).astype(np.float64)
    return sums / np.diff(starts, append=len(values))
