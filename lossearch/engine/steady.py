"""The steady search: breed a child whenever results arrive, so that no worker waits for a generation to end.

Invariant: as in any search, nothing recorded is lost or trained again after a stop. Which children are born depends on
the order in which results arrive, so two runs with one seed differ. A generation ends after ``population`` results, and
a checkpoint follows it.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from lossearch.engine.dispatch import Arrival, States, group_cohorts
from lossearch.engine.search_loop import Search, to_member
from lossearch.engine.warning_signs import warn_of_equal_scores
from lossearch.evaluators.work import Candidate, candidate_from, candidate_of
from lossearch.evolution.members import Member

#: The population is divided by this to get the number of births that are screened at once. A large batch costs less
#: for each birth, but the births at its end were bred before the latest results were known.
BATCHES_PER_POPULATION = 4


class SteadySearch(Search):
    """A search that keeps every worker busy. At a rung the best of the latest candidates train on.

    The rule at rungs is applied once, when a candidate arrives: asynchronous successive halving (Li et al., "A system
    for massively parallel hyperparameter tuning", MLSys 2020).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        population = self.experiment.evolution.population
        self._in_flight: dict[Candidate, int] = {}  # with the number of the stage
        self._recent_fitness = [deque[float](maxlen=population) for _ in self.first_training.stages]
        self._waiting = deque[Candidate]()  # born and not handed out yet
        self._interrupted: list[tuple[Candidate, int]] = []  # in flight when the search was stopped
        self._fruitless_at = -1  # number of finished candidates when breeding last found none
        self._unselected: list[Member] = []  # up to a hundredth of the population: one costs as much

    def _run_generations(self, start: int) -> None:
        settings, ended, shown = self.experiment.evolution, start, self.progress.candidates
        self.progress.generation = min(start + 1, settings.generations)
        if start == 0 and not self.progress.finished:
            self._hand_out(self.breeding.baseline(), 0, {})
        for stage in sorted({stage for _, stage in self._interrupted}):
            self._hand_out([candidate for candidate, number in self._interrupted if number == stage], stage, {})
        while (has_more := self._feed()) or self.dispatcher.in_flight:
            self._take_in(self._collect(waiting=not has_more))
            if self.progress.finished // settings.population > ended:
                self._select()
            while ended < min(settings.generations, self.progress.finished // settings.population):
                ended += 1
                self._end_generation(ended)
                self.progress.generation = min(ended + 1, settings.generations)
                self._keep(ended)
                shown = self.progress.candidates
        if ended == 0:  # too few losses for a generation
            self.warn(warn_of_equal_scores(self.recorder.known.values()))
        self._keep(settings.generations)
        if self.progress.candidates != shown:  # more arrived after the last generation had ended
            self._show_progress(settings.generations)

    def _keep(self, generation: int) -> None:
        """Save a checkpoint, and drop from memory the evaluations of candidates that are not in flight."""
        self._select()
        self._save_checkpoint(
            generation,
            in_flight=[{**asdict(candidate), "stage": stage} for candidate, stage in self._in_flight.items()],
            born=[asdict(candidate) for candidate in self._waiting],
            lately=[list(fitness) for fitness in self._recent_fitness],
        )
        in_flight = {candidate.loss_id for candidate in self._in_flight}  # their later stages may be recorded already
        self.recorder.forget(lambda evaluation: evaluation.loss_id not in in_flight)

    def _feed(self) -> bool:
        """Hand births out to idle workers. Return True if there are more births and more idle workers.

        Only a few are born at a time, so that results that arrive meanwhile are taken in first.
        """
        settings, size = self.experiment.evolution, self._cohort_size()
        room = self.executor.slots + 1 - self.dispatcher.in_flight
        num_begun = self.progress.finished + len(self._in_flight)
        num_left = settings.population * settings.generations - num_begun
        has_starting_losses = self.breeding.evolution.has_starting_losses or (
            self._waiting and self._waiting[0].name is not None
        )
        wanted = min(
            math.ceil(room / len(self.experiment.tasks)) * size, max(num_left, 1 if has_starting_losses else 0)
        )
        if wanted <= 0:
            return False
        if len(self._waiting) < min(wanted, size):
            self._breed(max(0, min(size, num_left - len(self._waiting))), num_begun)
        # All starting losses are trained, even if fewer losses are wanted.
        num_ready = (
            len(self._waiting) if num_left > 0 else sum(candidate.name is not None for candidate in self._waiting)
        )
        count = min(wanted, num_ready // size * size or num_ready)
        self._hand_out([self._waiting.popleft() for _ in range(count)], 0, {})
        return 0 < count < wanted

    def _breed(self, wanted: int, num_begun: int) -> None:
        """Breed the starting losses and up to ``wanted`` candidates.

        Do nothing if the last attempt found none and no candidate has finished since.
        """
        if self.progress.finished == self._fruitless_at:
            return
        population, num_begun = self.experiment.evolution.population, num_begun + len(self._waiting)
        together = max(1, population // BATCHES_PER_POPULATION)
        born = list(self.breeding.candidates(wanted, num_begun // population, num_begun < population, together))
        self._fruitless_at = -1 if born else self.progress.finished
        self._waiting += born

    def _cohort_size(self) -> int:
        """Compute the size of a cohort: as declared, or a share of the population for every worker."""
        settings, declared = self.experiment.evolution, self.experiment.executor.cohort_size
        if declared != "auto":
            return declared
        return max(1, min(self.executor.largest_cohort, math.ceil(settings.population / (self.executor.slots + 1))))

    def _hand_out(self, candidates: Iterable[Candidate], stage: int, states: Mapping[str, States]) -> None:
        for cohort in group_cohorts(candidates, self._cohort_size()):
            self._in_flight |= dict.fromkeys(cohort, stage)
            self.dispatcher.hand_out(cohort, stage, states)

    def _take_in(self, arrivals: Iterable[Arrival]) -> None:
        """Report finished candidates to evolution, and train the promoted ones on together."""
        promoted: list[Arrival] = []
        for arrival in arrivals:
            del self._in_flight[arrival.candidate]
            if arrival.score is None:
                continue
            if arrival.stage == len(self._recent_fitness) - 1:
                if arrival.candidate.birth != "baseline":
                    self._unselected.append(to_member(arrival.candidate, arrival.score.fitness))
            elif self._is_promoted(arrival.candidate, arrival.stage, arrival.score.fitness):
                promoted.append(arrival)
            else:
                self.progress.stopped += 1
        if len(self._unselected) > self.experiment.evolution.population / 100:
            self._select()
        for stage in sorted({arrival.stage for arrival in promoted}):
            scores = {arrival.candidate: arrival.score for arrival in promoted if arrival.stage == stage}
            states = {candidate.loss_id: score.states for candidate, score in scores.items() if score is not None}
            self._hand_out(scores, stage + 1, states)

    def _select(self) -> None:
        with self.watch.doing("selecting"):
            self.breeding.evolution.tell(self._unselected)
        self._unselected = []

    def _is_promoted(self, candidate: Candidate, stage: int, fitness: float) -> bool:
        """Return True if a candidate is a known loss, or among the best of the latest at its rung."""
        recent = self._recent_fitness[stage]
        recent.append(fitness)
        num_better = sum(value > fitness for value in recent)
        return candidate.name is not None or num_better < math.ceil(len(recent) / self.first_training.reduction_factor)

    def _take_up(self, state: dict[str, Any] | None) -> None:
        """Take up what was in flight at the checkpoint, and what was born and recorded since then."""
        empty: dict[str, Any] = {
            "evaluations": 0,
            "in_flight": [],
            "born": [],
            "lately": [[] for _ in self._recent_fitness],
        }
        saved = empty | (state or {})
        for recent, fitness in zip(self._recent_fitness, saved["lately"], strict=True):
            recent.extend(float(value) for value in fitness)
        self._interrupted = [(candidate_from(plain), int(plain["stage"])) for plain in saved["in_flight"]]
        in_flight = {candidate for candidate, _ in self._interrupted}
        since = list(self.recorder.known.values())[int(saved["evaluations"]) :]
        trained = dict.fromkeys(candidate_of(evaluation) for evaluation in since if evaluation.seed is not None)
        born = [candidate for candidate in trained if candidate not in in_flight]
        self._interrupted += [(candidate, 0) for candidate in born]
        waiting = map(candidate_from, saved["born"])
        self._waiting.extend(candidate for candidate in waiting if candidate not in born)
        for evaluation in since:
            if evaluation.seed is None:
                self.progress.count_refusal(evaluation.status)
        self.breeding.admission.remember(since, born)
        self.breeding.evolution.reseed(self.breeding.admission.births)
