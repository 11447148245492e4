"""The steady search: children are born as results arrive, and no worker waits for a generation to end.

Invariant: nothing recorded is lost or trained again after a stop, as in any search; what is born depends on the order
in which results arrive, so that two runs of one seed differ. A generation is as many results as the population has
losses; a checkpoint follows each.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from lossearch.engine.dispatch import Arrival, States, cohorts
from lossearch.engine.resume import remember, trained_in
from lossearch.engine.search_loop import Search, member
from lossearch.evaluators.work import Candidate, candidate_from
from lossearch.evolution.members import Member

#: Births that are decided about at once are this share of a population: it costs less for many, but what is born before
#: it is wanted knows less.
STALE = 4


class SteadySearch(Search):
    """Keeps every worker busy; at a rung a candidate goes on if it is among the best of those that came lately.

    The rule at rungs is that of asynchronous successive halving (Li et al., "A system for massively parallel
    hyperparameter tuning", MLSys 2020), decided once, when a candidate arrives.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        settings, fidelity = self.experiment.evolution, self.experiment.training_on(self.experiment.tasks[0])
        self._in_flight: dict[Candidate, int] = {}  # with the number of the stage
        self._lately = [deque[float](maxlen=settings.population) for _ in fidelity.stages]  # fitness at each stage
        self._born = deque[Candidate]()  # and not handed out yet
        self._again: list[tuple[Candidate, int]] = []  # what was in flight before a stop
        self._in_vain_at = -1  # how much was finished when births were last asked for in vain
        self._untold: list[Member] = []  # a hundredth of the population at most: selection costs as much for one

    def _go_on(self, start: int) -> None:
        generations, ended = self.experiment.evolution.generations, start
        self.progress.generation = min(start + 1, generations)
        if start == 0 and not self.progress.finished:
            self._hand_out_together(self.breeding.baseline(), 0, {})
        for stage in sorted({each for _, each in self._again}):
            self._hand_out_together([candidate for candidate, each in self._again if each == stage], stage, {})
        while (hungry := self._feed()) or self.trainings.in_flight:
            self._take(self.trainings.arrived(waiting=not hungry))
            if self.progress.finished // self.experiment.evolution.population > ended:
                self._tell()
            while ended < min(generations, self.progress.finished // self.experiment.evolution.population):
                ended += 1
                self._generation_ended(ended)
                self.progress.generation = min(ended + 1, generations)
                self._keep(ended)
        self._keep(generations)

    def _keep(self, generation: int) -> None:
        self._tell()
        in_flight = [{**asdict(candidate), "stage": stage} for candidate, stage in self._in_flight.items()]
        born, lately = [asdict(each) for each in self._born], [list(each) for each in self._lately]
        self._save_checkpoint(generation, in_flight=in_flight, born=born, lately=lately)
        flying = {each.loss_id for each in self._in_flight}  # whose later trainings may be known from before a stop
        self.recorder.forget(lambda each: each.loss_id not in flying)

    def _feed(self) -> bool:
        """Hand births out to workers that have nothing to do; whether there are more of both.

        A few are born at a time, so that what arrives meanwhile is taken in.
        """
        settings, size = self.experiment.evolution, self._cohort_size()
        room, begun = self.executor.slots + 1 - self.trainings.in_flight, self.progress.finished + len(self._in_flight)
        left = settings.population * settings.generations - begun
        seeds_wait = self.breeding.evolution.has_starting_losses or (self._born and self._born[0].name is not None)
        wanted = min(math.ceil(room / len(self.experiment.tasks)) * size, max(left, 1 if seeds_wait else 0))
        if wanted <= 0:
            return False
        if len(self._born) < min(wanted, size):
            self._breed(max(0, min(size, left - len(self._born))), begun)
        # All seeds are trained, however few losses are wanted.
        ready = len(self._born) if left > 0 else sum(each.name is not None for each in self._born)
        count = min(wanted, ready // size * size or ready)
        self._hand_out_together([self._born.popleft() for _ in range(count)], 0, {})
        return 0 < count < wanted

    def _breed(self, wanted: int, begun: int) -> None:
        """Bear seeds, and so many candidates, unless it was in vain and evolution has learned nothing since."""
        if self.progress.finished == self._in_vain_at:
            return
        population, begun = self.experiment.evolution.population, begun + len(self._born)
        together = max(1, population // STALE)
        born = list(self.breeding.candidates(wanted, begun // population, begun < population, together))
        self._in_vain_at = -1 if born else self.progress.finished
        self._born += born

    def _cohort_size(self) -> int:
        """Candidates in a cohort: as declared, or so many that the workers share the population."""
        settings, declared = self.experiment.evolution, self.experiment.executor.cohort_size
        if declared != "auto":
            return declared
        return max(1, min(self.executor.largest_cohort, math.ceil(settings.population / (self.executor.slots + 1))))

    def _hand_out_together(self, candidates: Iterable[Candidate], stage: int, states: Mapping[str, States]) -> None:
        for cohort in cohorts(candidates, self._cohort_size()):
            self._in_flight |= dict.fromkeys(cohort, stage)
            self.trainings.hand_out(cohort, stage, states)

    def _take(self, arrivals: Iterable[Arrival]) -> None:
        """Tell evolution who is through, and let the best of the others go on together."""
        through: list[Member] = []
        going_on: list[Arrival] = []
        for each in arrivals:
            del self._in_flight[each.candidate]
            if each.standing is None:
                continue
            if each.stage == len(self._lately) - 1:
                if each.candidate.birth != "baseline":
                    through.append(member(each.candidate, each.standing.fitness))
            elif self._goes_on(each):
                going_on.append(each)
            else:
                self.progress.stopped += 1
        self._untold += through
        if len(self._untold) > self.experiment.evolution.population / 100:
            self._tell()
        for stage in sorted({each.stage for each in going_on}):
            there = {each.candidate: each.standing for each in going_on if each.stage == stage}
            states = {each.loss_id: found.states for each, found in there.items() if found is not None}
            self._hand_out_together(there, stage + 1, states)

    def _tell(self) -> None:
        with self.watch.doing("selecting"):
            self.breeding.evolution.tell(self._untold)
        self._untold = []

    def _goes_on(self, arrival: Arrival) -> bool:
        """Whether a candidate is among the best one in so many of those that came to its rung lately, or is known."""
        assert arrival.standing is not None
        fitness, lately = arrival.standing.fitness, self._lately[arrival.stage]
        lately.append(fitness)
        factor = self.experiment.training_on(self.experiment.tasks[0]).reduction_factor
        better = sum(each > fitness for each in lately)
        return arrival.candidate.name is not None or better < math.ceil(len(lately) / factor)

    def _take_up(self, state: dict[str, Any] | None) -> None:
        """Take up what was in flight at the checkpoint, and what was born and recorded since then."""
        nothing: dict[str, Any] = {"evaluations": 0, "in_flight": [], "born": [], "lately": [[] for _ in self._lately]}
        saved = nothing | (state or {})
        for lately, fitness in zip(self._lately, saved["lately"], strict=True):
            lately.extend(float(each) for each in fitness)
        self._again = [(candidate_from(each), int(each["stage"])) for each in saved["in_flight"]]
        before = {each for each, _ in self._again}
        since = list(self.recorder.known.values())[int(saved["evaluations"]) :]
        born = [each for each in trained_in(since) if each not in before]
        self._again += [(each, 0) for each in born]
        self._born.extend(each for each in map(candidate_from, saved["born"]) if each not in born)
        for each in since:
            if each.seed is None:
                self.progress.refused(each.status)
        remember(self.breeding.admission, since, born)
        self.breeding.evolution.go_on_anew(self.breeding.admission.births)
