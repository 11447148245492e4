"""The generational search: breed, screen, train, record and select, generation after generation.

Invariant: what evolution learns from a generation depends on the seed alone, never on the order in which results
arrive. So a run that was stopped at any point continues as if nothing had happened.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from lossearch.engine.dispatch import Arrival, States, group_cohorts
from lossearch.engine.retests import LAST_ROUNDS, Retests
from lossearch.engine.score import Score, promote
from lossearch.engine.search_loop import Search, to_member
from lossearch.evaluators.work import Candidate
from lossearch.evolution.members import Member


class GenerationalSearch(Search):
    """A search that trains a generation to its end before it breeds the next one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.retests = Retests(self.experiment.evolution.retests, self.first_training.seeds)

    def _run_generations(self, start: int) -> None:
        num_generations = self.experiment.evolution.generations
        self._forget_before(start)
        for generation in range(start, num_generations):
            self._save_checkpoint(generation)
            self.progress.generation = generation + 1
            members = self._train_generation(generation)
            with self.watch.doing("selecting"):
                self.breeding.evolution.tell(members)
            self._retest(is_last=generation == num_generations - 1)
            self._end_generation(generation + 1)
            self._forget_before(generation + 1)
        self._save_checkpoint(num_generations)

    def _forget_before(self, generation: int) -> None:
        """Drop earlier generations from memory, except their retests, which a later generation may ask for again."""
        num_seeds = self.first_training.seeds
        self.recorder.forget(
            lambda evaluation: evaluation.generation < generation and (evaluation.seed or 0) < num_seeds
        )

    def _save_checkpoint(self, generation: int, **more: Any) -> None:
        super()._save_checkpoint(generation, retests=self.retests.state(), **more)

    def _take_up(self, state: dict[str, Any] | None) -> None:
        self.retests.restore((state or {}).get("retests", {}))

    def _train_generation(self, number: int) -> list[Member]:
        """Train a generation from rung to rung. Return the members that were trained to the end, in birth order.

        At a rung the best candidates train on from their states; the others stop.
        """
        scores = self._train(self._breed(number), 0, {})
        for stage in range(1, len(self.first_training.stages)):
            promoted = promote(scores, self.first_training.reduction_factor)
            self.progress.stopped += len(scores) - len(promoted)
            self.view.moved(self.progress)
            states = {candidate.loss_id: scores[candidate].states for candidate in promoted}
            scores = self._train(promoted, stage, states)
        if self.experiment.evolution.retests:
            self.retests.add(scores)
        return [
            to_member(candidate, scores[candidate].fitness)
            for candidate in sorted(scores, key=lambda candidate: candidate.birth_number)
            if candidate.birth != "baseline"
        ]

    def _breed(self, generation: int) -> Iterator[Candidate]:
        if generation == 0:
            yield from self.breeding.baseline()
        yield from self.breeding.candidates(self.experiment.evolution.population, generation)

    def _train(
        self, candidates: Iterable[Candidate], stage: int, states: Mapping[str, States]
    ) -> dict[Candidate, Score]:
        """Train candidates up to a stage on every task, from their states on, and score those that did not fail.

        About two pieces of work for each worker are in flight: no worker waits, and memory does not grow with the
        population.
        """
        arrivals = []
        for cohort in group_cohorts(candidates, self._cohort_size(candidates)):
            self.dispatcher.hand_out(cohort, stage, states)
            arrivals += self._collect(waiting=False)
            while self.dispatcher.in_flight >= 2 * self.executor.slots + 2:
                arrivals += self._collect(waiting=True)
        arrivals += self._collect_all()
        return {arrival.candidate: arrival.score for arrival in arrivals if arrival.score is not None}

    def _retest(self, is_last: bool) -> None:
        """Retest the leading losses; after the last generation repeat it until each of them had one."""
        if not self.experiment.evolution.retests:
            return
        due, num_failed = self.retests.due(), len(self.retests.failed)
        for _ in range(LAST_ROUNDS if is_last else 1):
            for seed, candidates in due.items():
                fitness = self.retests.record(self._train_retest(candidates, seed))
                self.breeding.evolution.revalue(fitness)
            due = self.retests.due(untested=True)
        self.progress.count_failed_retests(len(self.retests.failed) - num_failed)
        best = self.retests.best()
        if best is not None:
            self.progress.best_formula, self.progress.best_fitness = best

    def _train_retest(self, candidates: Sequence[Candidate], seed: int) -> dict[Candidate, float | None]:
        """Return the fitness of candidates under one more seed, None if a training failed, in their order."""
        for cohort in group_cohorts(candidates, max(1, math.ceil(len(candidates) / self.executor.slots))):
            self.dispatcher.hand_out_retest(cohort, seed)
        scores = {arrival.candidate: arrival.score for arrival in self._collect_all()}
        return {candidate: None if (score := scores[candidate]) is None else score.fitness for candidate in candidates}

    def _collect_all(self) -> list[Arrival]:
        """Wait until nothing is in flight, and save what arrived."""
        arrivals: list[Arrival] = []
        while self.dispatcher.in_flight:
            arrivals += self._collect(waiting=True)
        self.dispatcher.save()
        return arrivals

    def _cohort_size(self, candidates: Iterable[Candidate]) -> int:
        """Compute the size of a cohort: as declared, or an equal share of the candidates for every worker."""
        declared = self.experiment.executor.cohort_size
        if declared != "auto":
            return declared
        count = len(candidates) if isinstance(candidates, Sized) else self.experiment.evolution.population
        return max(1, min(self.executor.largest_cohort, math.ceil(count / self.executor.slots)))
