"""Ranking: the losses of a run in the order of its leaderboard, found by the columns of all evaluations.

Invariant: it says of every loss what ``row_of`` says of one; a test holds the two together on evaluations of any kind.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import noise_of_a_difference, paired_differences
from lossearch.results.storage.columns import Flags, Places, differs, first_of_each, least_of_each, means

if TYPE_CHECKING:
    from lossearch.results.records import Evaluation
    from lossearch.results.storage.columns import StoredRecords
if TYPE_CHECKING:
    from lossearch.results.records import Evaluation
    from lossearch.results.storage.columns import StoredRecords


class Ranking:
    """The losses of some evaluations; they are numbered in the order of their birth."""

    def __init__(self, evaluations: "StoredRecords[Evaluation]") -> None:
        self._evaluations = evaluations
        self.loss, self.losses = _numbered(evaluations)  #: the loss of each evaluation, and how many there are
        status = evaluations.texts("status")
        first = first_of_each(self.loss, self.losses)
        unlike = first_of_each(self.loss, self.losses, ~status.are("duplicate"))
        self._first = np.where(unlike < len(self.loss), unlike, first)
        self._refused = first_of_each(self.loss, self.losses, status.are("failed") | status.are("rejected"))
        self._is_refused = self._refused < len(self.loss)
        self.tasks = _tasks(evaluations, self.loss)  #: that losses were trained on
        self.of_seed = fitness_of_seeds(evaluations, self.loss, len(self.tasks))
        self._fitness = self.of_seed.means(self.losses)
        self.baseline = _baseline(evaluations, self.loss)  #: the number of cross-entropy
        self.is_ranked = ~np.isnan(self._fitness) & ~self._is_refused
        best = self._best_first()
        self.ranked = len(best)  #: how many are
        self.order = np.concatenate([best, np.flatnonzero(~self.is_ranked)])  #: of the losses on the leaderboard
        self.pareto = _simpler_than_all_before(self._complexity(best))  #: of the ranked, best first

    def named(self) -> Places:
        """The places of known losses in the order."""
        return np.flatnonzero(self._evaluations.texts("name").codes[self._first[self.order]] >= 0)

    def evaluations_of(self, losses: Places) -> tuple[Places, Places]:
        """The evaluations of some losses, and the loss of each; those of one loss together, in their order."""
        wanted = np.zeros(self.losses, dtype=bool)
        wanted[losses] = True
        places = np.flatnonzero(wanted[self.loss])
        places = places[np.argsort(self.loss[places], kind="stable")]
        return places, self.loss[places]

    def counts(self) -> dict[str, int]:
        """How many losses there are of each status."""
        stopped = np.isnan(self._fitness) & ~self._is_refused & at_a_rung(self._evaluations)[self._longest()]
        status = self._evaluations.texts("status")
        said = status.codes[np.where(self._is_refused, self._refused, self._first)[~self.is_ranked & ~stopped]]
        others = dict(zip(status.values(), np.bincount(said, minlength=len(status.distinct)).tolist(), strict=True))
        return dict(+Counter({"evaluated": self.ranked, "stopped": int(stopped.sum())}) + Counter(others))

    def difference_noise(self) -> float | None:
        """Standard error of one loss's difference to cross-entropy, pooled over the better half of the losses.

        The worse half is left out: what scarcely trains varies more than what a reader would choose.
        """
        if self.baseline is None:
            return None
        others = np.flatnonzero(~np.isnan(self._fitness) & (np.arange(self.losses) != self.baseline))
        better = others[np.argsort(-self._fitness[others], kind="stable")][: (len(others) + 1) // 2]
        theirs = self.of_seed.of(self.baseline)
        return noise_of_a_difference(paired_differences(self.of_seed.of(loss), theirs) for loss in better.tolist())

    def _best_first(self) -> Places:
        """The ranked losses: by fitness, then by complexity, then by their ids."""
        ranked = np.flatnonzero(self.is_ranked)
        ids = self._evaluations.texts("loss_id")
        ranked = ranked[ids.sorted_places(ids.codes[self._first[ranked]])]
        return ranked[np.lexsort((self._complexity(ranked), -self._fitness[ranked]))]

    def _complexity(self, losses: Places) -> NDArray[np.int64]:
        return self._evaluations.numbers("complexity")[0][self._first[losses]]

    def _longest(self) -> Places:
        """The longest training of each loss."""
        steps, _ = self._evaluations.numbers("steps")
        least = least_of_each(self.loss, self.losses, -steps)
        return first_of_each(self.loss, self.losses, -steps == least[self.loss])


def _numbered(evaluations: "StoredRecords[Evaluation]") -> tuple[Places, int]:
    """The number of each evaluation's loss, in the order of birth, and how many losses there are."""
    ids = evaluations.texts("loss_id")
    first = first_of_each(ids.codes, len(ids.distinct))
    births = np.argsort(first, kind="stable")
    births = births[first[births] < len(evaluations)]
    number = np.empty(len(first), dtype=np.int32)
    number[births] = np.arange(len(births))
    return number[ids.codes], len(births)


def _tasks(evaluations: "StoredRecords[Evaluation]", loss: Places) -> list[str]:
    """The tasks that losses were trained on: those of the first loss, then what the next has beside them."""
    trained, task = np.flatnonzero(evaluations.numbers("seed")[1]), evaluations.texts("task")
    by_loss = trained[np.argsort(loss[trained], kind="stable")]
    first, names = first_of_each(task.codes[by_loss], len(task.distinct)), task.values()
    return [names[code] for code in np.argsort(first) if first[code] < len(by_loss)]


def _baseline(evaluations: "StoredRecords[Evaluation]", loss: Places) -> int | None:
    named = loss[evaluations.texts("name").are(BASELINE)]
    return int(named.min()) if len(named) else None


def _simpler_than_all_before(complexity: NDArray[np.int64]) -> Flags:
    found = np.ones(len(complexity), dtype=bool)
    found[1:] = complexity[1:] < np.minimum.accumulate(complexity)[:-1]
    return found


def difference_noise(evaluations: Iterable[Evaluation]) -> float | None:
    """Standard error of one loss's difference to cross-entropy, pooled over the better half of the losses."""
    from lossearch.results.storage.columns import StoredRecords

    return Ranking(StoredRecords.of(Evaluation, evaluations)).difference_noise()


# --- Fitness of full trainings under each seed, of all losses at once.
#
# It is what ``fitness_by_seed`` gives of one loss: the mean over the tasks, for seeds that have them all.


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
