"""The generational search: ask, screen, evaluate, record, tell, generation after generation.

Invariant: what a generation tells evolution depends on the seed alone, never on the order in which results arrive. So
a run that was stopped anywhere goes on as if it had not been.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from lossearch.engine.dispatch import Arrival, Score, States, cohorts, promoted
from lossearch.engine.retests import LAST_ROUNDS, Retests
from lossearch.engine.search_loop import Search, member
from lossearch.evaluators.work import Candidate
from lossearch.evolution.members import Member


class GenerationalSearch(Search):
    """Trains a generation to its end before the next one is born."""

    def __post_init__(self) -> None:
        super().__post_init__()
        own = self.experiment.training_on(self.experiment.tasks[0]).seeds
        self.retests = Retests(self.experiment.evolution.retests, own)

    def _go_on(self, start: int) -> None:
        generations = self.experiment.evolution.generations
        self._forget_before(start)
        for generation in range(start, generations):
            self._save_checkpoint(generation)
            self.progress.generation = generation + 1
            members = self._generation(generation)
            with self.watch.doing("selecting"):
                self.breeding.evolution.tell(members)
            self._retest(is_last=generation == generations - 1)
            self._generation_ended(generation + 1)
            self._forget_before(generation + 1)
        self._save_checkpoint(generations)

    def _forget_before(self, generation: int) -> None:
        own = self.experiment.training_on(self.experiment.tasks[0]).seeds
        self.recorder.forget(lambda each: each.generation < generation and (each.seed or 0) < own)

    def _save_checkpoint(self, generation: int, **more: Any) -> None:
        super()._save_checkpoint(generation, retests=self.retests.state(), **more)

    def _take_up(self, state: dict[str, Any] | None) -> None:
        self.retests.restore((state or {}).get("retests", {}))

    def _generation(self, number: int) -> list[Member]:
        """Train a generation's candidates, from rung to rung, and return those that were trained to the end.

        They come in the order of their birth. At a rung the best go on from where they stand; the others stop.
        """
        fidelity = self.experiment.training_on(self.experiment.tasks[0])
        stand = self._trained(self._born(number), 0, {})
        for stage in range(1, len(fidelity.stages)):
            going_on = promoted(stand, fidelity.reduction_factor)
            self.progress.stopped += len(stand) - len(going_on)
            self.view.moved(self.progress)
            stand = self._trained(going_on, stage, {each.loss_id: stand[each].states for each in going_on})
        if self.experiment.evolution.retests:
            self.retests.told(stand)
        return [
            member(each, stand[each].fitness)
            for each in sorted(stand, key=lambda each: each.birth_number)
            if each.birth != "baseline"
        ]

    def _retest(self, is_last: bool) -> None:
        """Train the losses that lead under one more seed; after the last generation until all of them have had one."""
        if not self.experiment.evolution.retests:
            return
        due = self.retests.due()
        for _ in range(LAST_ROUNDS if is_last else 1):
            for seed, candidates in due.items():
                worth = self.retests.take(self._trained_again(candidates, seed))
                self.breeding.evolution.revalue(worth)
            due = self.retests.due(untested=True)
        best = self.retests.best()
        if best is not None:
            self.progress.best_formula, self.progress.best_fitness = best

    def _trained_again(self, candidates: Sequence[Candidate], seed: int) -> dict[Candidate, float | None]:
        """The fitness of candidates under one more seed, None where a training failed."""
        for cohort in cohorts(candidates, max(1, math.ceil(len(candidates) / self.executor.slots))):
            self.trainings.hand_out_again(cohort, seed)
        arrivals: list[Arrival] = []
        while self.trainings.in_flight:
            arrivals += self.trainings.arrived(waiting=True)
        self.trainings.save()
        found = {each.candidate: None if each.standing is None else each.standing.fitness for each in arrivals}
        return {each: found[each] for each in candidates}  # in their own order

    def _born(self, generation: int) -> Iterator[Candidate]:
        if generation == 0:
            yield from self.breeding.baseline()
        yield from self.breeding.candidates(self.experiment.evolution.population, generation)

    def _trained(
        self, entering: Iterable[Candidate], stage: int, states: Mapping[str, States]
    ) -> dict[Candidate, Score]:
        """Train candidates up to a stage on every task, from their states on, and return how those that did stand.

        A candidate that failed on one task has failed.
        """
        arrivals = []
        for cohort in cohorts(entering, self._cohort_size(entering)):
            self.trainings.hand_out(cohort, stage, states)
            arrivals += self.trainings.arrived(waiting=False)
            while self.trainings.in_flight >= 2 * self.executor.slots + 2:
                arrivals += self.trainings.arrived(waiting=True)
        while self.trainings.in_flight:
            arrivals += self.trainings.arrived(waiting=True)
        self.trainings.save()
        return {each.candidate: each.standing for each in arrivals if each.standing is not None}

    def _cohort_size(self, entering: Iterable[Candidate]) -> int:
        """Candidates in a cohort: as declared, or so many that every worker has something to do."""
        declared = self.experiment.executor.cohort_size
        if declared != "auto":
            return declared
        count = len(entering) if isinstance(entering, Sized) else self.experiment.evolution.population
        return max(1, min(self.executor.largest_cohort, math.ceil(count / self.executor.slots)))
