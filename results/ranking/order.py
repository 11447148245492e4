"""The ranking of a run: the order of its losses on the leaderboard, from columns of all evaluations at once."""

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossearch.results.ranking.counts import CandidateCounts
from lossearch.results.ranking.fitness import SeedFitness, is_at_a_rung
from lossearch.results.ranking.row import RowStatus
from lossearch.results.records import BASELINE, Evaluation
from lossearch.results.statistics.intervals import noise_of_a_difference, paired_differences
from lossearch.results.storage.columns import Flags, Places, StoredRecords, first_of_each


class Ranking:
    """The losses of some evaluations, in the order of their leaderboard.

    A loss is a number: losses are counted from 0 in the order of their first evaluation. A loss has a rank if it was
    trained to the end on every task under a seed, and no evaluation of it failed or was rejected.
    """

    def __init__(self, evaluations: StoredRecords[Evaluation]) -> None:
        self._evaluations = evaluations
        self.loss, self.num_losses = _number_losses(evaluations)  #: loss of each evaluation, and number of losses
        self.tasks = _find_tasks(evaluations, self.loss)  #: tasks that losses were trained on
        self.seed_fitness = SeedFitness(evaluations, self.loss, self.num_losses, len(self.tasks))
        self._fitness = self.seed_fitness.means()
        self.baseline = _find_baseline(evaluations, self.loss)  #: cross-entropy, None if the run lacks it

        original = self._first_evaluations(~evaluations.equals("status", "duplicate"))
        #: First evaluation of each loss that is no duplicate, [losses]; the first of all if each is a duplicate.
        self.first = np.where(original < len(self.loss), original, self._first_evaluations())
        refusal = self._first_evaluations(evaluations.texts("status").are_in(["failed", "rejected"]))
        self._is_refused = refusal < len(self.loss)
        #: Evaluation that decides the status of a loss without a rank, [losses]: its first failure or rejection.
        self.deciding = np.where(self._is_refused, refusal, self.first)
        self.is_ranked = ~np.isnan(self._fitness) & ~self._is_refused

        best_first = self._sort_ranked()
        self.num_ranked = len(best_first)
        #: Losses in the order of the leaderboard: those with a rank, then the others in the order of their birth.
        self.order = np.concatenate([best_first, np.flatnonzero(~self.is_ranked)])
        #: True for the losses on the Pareto front, [ranked], best first.
        self.pareto = _is_simpler_than_all_before(self._complexity(best_first))

    def named(self) -> Places:
        """Return the places of known losses in the order."""
        return np.flatnonzero(self._evaluations.texts("name").codes[self.first[self.order]] >= 0)

    def evaluations_of(self, losses: Places) -> tuple[Places, Places]:
        """Return the evaluations of some losses, loss by loss in the order written, and the loss of each."""
        is_wanted = np.zeros(self.num_losses, dtype=bool)
        is_wanted[losses] = True
        places = np.flatnonzero(is_wanted[self.loss])
        places = places[np.argsort(self.loss[places], kind="stable")]
        return places, self.loss[places]

    @cached_property
    def longest(self) -> Places:
        """The longest training of each loss, the first of several, [losses]."""
        steps, _ = self._evaluations.numbers("steps")
        most_steps = np.full(self.num_losses, np.iinfo(np.int64).min)
        np.maximum.at(most_steps, self.loss, steps)
        return self._first_evaluations(steps == most_steps[self.loss])

    @cached_property
    def is_stopped(self) -> Flags:
        """True for the losses that were trained to a rung and so far no longer, [losses]."""
        stops = is_at_a_rung(self._evaluations)[self.longest]
        is_stopped: Flags = np.isnan(self._fitness) & ~self._is_refused & stops
        return is_stopped

    def status(self, loss: int) -> RowStatus:
        """Return the status of a loss on the leaderboard."""
        codes, names = self._statuses
        return names[codes[loss]]

    def counts(self) -> dict[str, int]:
        """Count the losses of each status."""
        codes, names = self._statuses
        counts = Counter[str]()
        for name, count in zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True):
            counts[name] += count
        return dict(+counts)

    @cached_property
    def _statuses(self) -> tuple[Places, list[RowStatus]]:
        """The code of each loss's status, [losses], and the status of each code."""
        status = self._evaluations.texts("status")
        names: list[Any] = ["evaluated", "stopped", *status.values()]
        return np.select([self.is_ranked, self.is_stopped], [0, 1], status.codes[self.deciding] + 2), names

    def candidate_counts(self) -> CandidateCounts:
        """Count the candidates by what became of them.

        A loss that was trained on some tasks only is not counted yet: its other trainings are under way.
        """
        of_losses, status = self.counts(), self._evaluations.texts("status")
        return CandidateCounts(
            evaluated=self.num_ranked,
            stopped=of_losses.get("stopped", 0),
            failed=of_losses.get("failed", 0),
            rejected=int(status.are_in(["rejected"]).sum()),
            duplicates=int(status.are_in(["duplicate"]).sum()),
        )

    def fitness_by_seed(self, loss_id: str | None) -> dict[int, float]:
        """Return the fitness of a loss by seed; none for a loss that the run does not have."""
        if loss_id is None:
            return {}
        losses = self.loss[self._evaluations.equals("loss_id", loss_id)]
        return self.seed_fitness.by_seed(int(losses[0])) if len(losses) else {}

    def difference_noise(self) -> float | None:
        """Return the standard error of one loss's difference to cross-entropy, pooled over the better half of losses.

        The worse half is left out: losses that hardly train vary more than the ones that a reader would choose.
        """
        if self.baseline is None:
            return None
        others = np.flatnonzero(~np.isnan(self._fitness) & (np.arange(self.num_losses) != self.baseline))
        better = others[np.argsort(-self._fitness[others], kind="stable")][: (len(others) + 1) // 2]
        baseline = self.seed_fitness.by_seed(self.baseline)
        return noise_of_a_difference(
            paired_differences(self.seed_fitness.by_seed(loss), baseline) for loss in better.tolist()
        )

    def _first_evaluations(self, among: Flags | None = None) -> Places:
        return first_of_each(self.loss, self.num_losses, among)

    def _sort_ranked(self) -> Places:
        """Sort the losses that have a rank by fitness, then by complexity, then by their ids."""
        ranked = np.flatnonzero(self.is_ranked)
        ids = self._evaluations.texts("loss_id")
        ranked = ranked[ids.sort(ids.codes[self.first[ranked]])]
        return ranked[np.lexsort((self._complexity(ranked), -self._fitness[ranked]))]

    def _complexity(self, losses: Places) -> NDArray[np.int64]:
        return self._evaluations.numbers("complexity")[0][self.first[losses]]


def _number_losses(evaluations: StoredRecords[Evaluation]) -> tuple[Places, int]:
    """Return the loss of each evaluation and the number of losses."""
    ids = evaluations.texts("loss_id")
    first = first_of_each(ids.codes, len(ids.distinct))
    births = np.argsort(first, kind="stable")
    births = births[first[births] < len(evaluations)]
    number = np.empty(len(first), dtype=np.int32)
    number[births] = np.arange(len(births))
    return number[ids.codes], len(births)


def _find_tasks(evaluations: StoredRecords[Evaluation], loss: Places) -> list[str]:
    """Return the tasks that losses were trained on: those of the first loss, then what the next ones add."""
    trained, task = np.flatnonzero(evaluations.has("seed")), evaluations.texts("task")
    by_loss = trained[np.argsort(loss[trained], kind="stable")]
    first, names = first_of_each(task.codes[by_loss], len(task.distinct)), task.values()
    return [names[code] for code in np.argsort(first) if first[code] < len(by_loss)]


def _find_baseline(evaluations: StoredRecords[Evaluation], loss: Places) -> int | None:
    losses = loss[evaluations.equals("name", BASELINE)]
    return int(losses.min()) if len(losses) else None


def _is_simpler_than_all_before(complexity: NDArray[np.int64]) -> Flags:
    is_simpler = np.ones(len(complexity), dtype=bool)
    is_simpler[1:] = complexity[1:] < np.minimum.accumulate(complexity)[:-1]
    return is_simpler


def difference_noise(evaluations: Iterable[Evaluation]) -> float | None:
    """Return ``Ranking.difference_noise`` of evaluations that are in no file."""
    return Ranking(StoredRecords.of(Evaluation, evaluations)).difference_noise()
