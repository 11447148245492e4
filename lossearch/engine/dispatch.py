"""Dispatcher: hands a search's cohorts to the executor, records what comes back, and says how candidates stand.

Invariant: what was recorded before a restart is not trained again; so much work is handed out that no worker waits, and
no more, so that memory does not grow with the population.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossearch.callbacks import Callbacks
from lossearch.evaluators.executors.executor import Executor, FinishedWork, Pending
from lossearch.evaluators.work import Candidate, Result, Work, evaluation_id
from lossearch.results.records import Evaluation
from lossearch.results.statistics.intervals import mean
from lossearch.results.storage.store import Recorder
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment
from lossearch.runs.progress import Progress, Stopwatch, Workforce
from lossearch.runs.views import View

# --- Score: how candidates stand at a stage of their training, and who goes on.


@dataclass(frozen=True)
class Score:
    """How a candidate stands at a stage: its mean fitness over the tasks, and handles of its states on each."""

    fitness: float
    states: Mapping[str, list[Any]]


def score_on_all(on_each: Mapping[str, Score | None]) -> Score | None:
    """How a candidate stands on all tasks: by the mean of its fitness; None where it failed on one."""
    finished = {task: standing for task, standing in on_each.items() if standing is not None}
    if len(finished) < len(on_each):
        return None
    states = {task: standing.states[task] for task, standing in finished.items()}
    return Score(mean(standing.fitness for standing in finished.values()), states)


def best_first(stand: Mapping[Candidate, Score]) -> list[Candidate]:
    """Candidates by their fitness, the simpler of equals first."""
    return sorted(stand, key=lambda each: (-stand[each].fitness, each.complexity, each.birth_number))


def promoted(stand: Mapping[Candidate, Score], reduction_factor: int) -> list[Candidate]:
    """Who goes on at a rung: the best one in so many, the simpler of equals, and every known loss.

    Everything is compared with the known losses, so that they are always trained to the end.
    """
    best = best_first(stand)
    count = math.ceil(len(best) / reduction_factor)
    going_on = {*best[:count], *(each for each in best if each.name is not None)}
    return sorted(going_on, key=lambda each: each.birth_number)


#: In the place of a stage's number: a training under one more seed.
AGAIN = -1

#: Handles of the states of a candidate's trainings, by task.
States = Mapping[str, list[Any]]


@dataclass(frozen=True)
class Arrival:
    """A candidate that was trained up to a stage on every task; no standing where it failed on one."""

    candidate: Candidate
    stage: int  #: its number
    standing: Score | None


class Dispatcher:
    """The work of a search that is handed out."""

    def __init__(
        self,
        experiment: Experiment,
        run: RunDirectory,
        executor: Executor,
        recorder: Recorder[Evaluation],
        progress: Progress,
        view: View,
        watch: Stopwatch,
        callbacks: Callbacks,
    ) -> None:
        self._experiment, self._run, self._executor, self._recorder = experiment, run, executor, recorder
        self._progress, self._view, self._watch, self._callbacks = progress, view, watch, callbacks
        self._pending: list[tuple[int, Pending]] = []  # with the number of the stage
        self._found: dict[tuple[Candidate, int], dict[str, Score | None]] = {}
        self.workforce = Workforce()

    @property
    def in_flight(self) -> int:
        """Pieces of work that are handed out."""
        return len(self._pending)

    def hand_out(self, cohort: Sequence[Candidate], stage: int, states: Mapping[str, States]) -> None:
        """Have candidates trained up to a stage on every task, from their states by loss id where they have some.

        Those whose evaluations are known from before a restart are not handed out.
        """
        for task in self._experiment.tasks:
            self._hand_out(self._experiment.work(task, cohort, stage=stage), stage, states)

    def hand_out_again(self, cohort: Sequence[Candidate], seed: int) -> None:
        """Have candidates that were trained before trained in full under one more seed, by its index."""
        for task in self._experiment.tasks:
            work = self._experiment.work(task, cohort)
            alone = work.fidelity.model_copy(update={"seeds": 1})
            self._hand_out(replace(work, fidelity=alone, first_seed=seed), AGAIN, {})

    def _hand_out(self, work: Work, stage: int, states: Mapping[str, States]) -> None:
        recalled, new = self._recalled(work)
        if recalled is not None:
            self._pending.append((stage, recalled))
        if new is not None:
            before = [handle for each in new.candidates for handle in states.get(each.loss_id, {}).get(work.task, ())]
            self._pending.append((stage, self._submitted(new, before)))

    def arrived(self, waiting: bool) -> list[Arrival]:
        """Who has arrived at a stage by now, or ``waiting`` until there is somebody or a second is over."""
        if waiting and self._pending:
            with self._watch.doing("waiting for trainings"):
                self._executor.wait([each for _, each in self._pending], timeout=1.0)
        for news in self._executor.news():
            self._run.log("worker", note=news.text)
            if news.gone is not None:
                self.workforce.left(news.gone)
            if news.is_warning:
                self._view.warned(news.text)
        if self._recorder.is_due:  # also while nothing arrives
            self.save()
        done = [(stage, each) for stage, each in self._pending if each.done()]
        if not done:
            return []
        finished = {id(each) for _, each in done}
        self._pending = [(stage, each) for stage, each in self._pending if id(each) not in finished]
        return [arrival for stage, each in done for arrival in self._taken_in(stage, each)]

    def record(self, evaluations: Iterable[Evaluation]) -> None:
        """Keep evaluations, which are written now and then, and tell of those that are new."""
        self._callbacks.evaluated(self._recorder.record(evaluations))
        if self._recorder.is_due:
            self.save()

    def save(self) -> None:
        """Write what is not written yet, and what the workers are doing."""
        with self._watch.doing("recording"):
            self._recorder.save()
        if workers := self.workforce.summary():
            self._run.write_workers({"seconds": self._watch.rounded(), "workers": workers})

    def _submitted(self, work: Work, states: Iterable[Any]) -> Pending:
        distinct = {id(handle): handle for handle in states}  # one holds the states of a cohort
        with self._watch.doing("waiting for trainings"):  # which the inline executor does here
            return self._executor.submit(work, distinct.values())

    def _recalled(self, work: Work) -> tuple[FinishedWork | None, Work | None]:
        """The part of the work that is known from before a restart, and the part that is to be done."""
        known = {each: self._complete(each, work) for each in work.candidates}
        old, new = (tuple(each for each in known if bool(known[each]) is wanted) for wanted in (True, False))
        found = Result([evaluation for each in old for evaluation in known[each]])
        finished = FinishedWork(replace(work, candidates=old), found) if old else None
        return finished, replace(work, candidates=new) if new else None

    def _complete(self, candidate: Candidate, work: Work) -> list[Evaluation]:
        """The candidate's evaluations that are known; none where some are missing."""
        if not self._recorder.known:
            return []
        ids = [evaluation_id(candidate, work, seed) for seed in work.seeds]
        found = [self._recorder.known[each] for each in ids if each in self._recorder.known]
        complete = len(found) == len(ids) or any(each.status == "failed" for each in found)
        return found if complete else []

    def _taken_in(self, stage: int, done: Pending) -> Iterator[Arrival]:
        """Record what came of work, and tell who has arrived by it."""
        evaluations = [self._recorder.known.get(each.evaluation_id, each) for each in done.result()]
        self.workforce.add(done.spent())
        self.record(evaluations)
        for note in done.notes():
            self._run.log("cohort", note=note)
        own: dict[str, list[Evaluation]] = {}
        for each in evaluations:
            own.setdefault(each.loss_id, []).append(each)
        for candidate in done.work.candidates:
            fitness = [each.fitness for each in own.get(candidate.loss_id, ()) if each.fitness is not None]
            finished, states = len(fitness) == done.work.fidelity.seeds, {done.work.task: done.states()}
            on_each = self._found.setdefault((candidate, stage), {})
            on_each[done.work.task] = Score(mean(fitness), states) if finished else None
            if len(on_each) == len(self._experiment.tasks):
                del self._found[candidate, stage]
                arrival = Arrival(candidate, stage, score_on_all(on_each))
                yield arrival if stage == AGAIN else self._counted(arrival, done.work)
        self._view.moved(self._progress)

    def _counted(self, arrival: Arrival, work: Work) -> Arrival:
        """Count a candidate that failed, or was trained to the end."""
        if arrival.standing is None:
            self._progress.trained(arrival.candidate, None)
        elif work.until == work.fidelity.steps:
            self._progress.trained(arrival.candidate, arrival.standing.fitness)
        return arrival


def cohorts(candidates: Iterable[Candidate], size: int) -> Iterator[list[Candidate]]:
    """The candidates in cohorts of one kind of class weights, as soon as each is full, then the rest."""
    open_cohorts: dict[str | None, list[Candidate]] = {}
    for candidate in candidates:
        cohort = open_cohorts.setdefault(candidate.class_weights, [])
        cohort.append(candidate)
        if len(cohort) == size:
            yield open_cohorts.pop(candidate.class_weights)
    yield from open_cohorts.values()
