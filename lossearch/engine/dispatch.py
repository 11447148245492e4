"""Dispatcher: hand a search's cohorts to the executor, record what comes back, and score the candidates.

Invariant: what was recorded before a restart is not trained again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lossearch.callbacks import Callbacks
from lossearch.engine.score import Score, mean_score
from lossearch.evaluators.executors.executor import Executor, FinishedWork, Pending
from lossearch.evaluators.work import Candidate, Result, Work, evaluation_id
from lossearch.results.records import Evaluation
from lossearch.results.statistics.intervals import mean
from lossearch.results.storage.recorder import Recorder
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment
from lossearch.runs.progress import Progress
from lossearch.runs.timing import Stopwatch, Workforce
from lossearch.runs.views import View

#: Stage number of a retest, a full training under one more seed.
RETEST = -1

#: Handles of the states of a candidate's trainings, by task.
States = Mapping[str, list[Any]]


@dataclass(frozen=True)
class Arrival:
    """A candidate that was trained up to a stage on every task."""

    candidate: Candidate
    stage: int  #: number of the stage
    score: Score | None  #: None if the candidate failed on a task


class Dispatcher:
    """Hands out the work of a search to an executor, and takes in the results."""

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
        self._scores: dict[tuple[Candidate, int], dict[str, Score | None]] = {}  # of candidates that lack some tasks
        self.workforce = Workforce()
        self._steps_of_a_candidate = sum(
            training.steps * training.seeds for training in map(experiment.training_on, experiment.tasks)
        )
        executor.on_steps = self._note_steps

    @property
    def in_flight(self) -> int:
        """Number of pieces of work that are handed out."""
        return len(self._pending)

    def hand_out(self, cohort: Sequence[Candidate], stage: int, states: Mapping[str, States]) -> None:
        """Train candidates up to a stage on every task. Those with ``states``, by loss id, continue from them.

        Candidates whose evaluations are known from before a restart are not trained again.
        """
        for task in self._experiment.tasks:
            self._hand_out(self._experiment.work(task, cohort, stage=stage), stage, states)

    def hand_out_retest(self, cohort: Sequence[Candidate], seed: int) -> None:
        """Train candidates in full under one more seed, given by its index."""
        for task in self._experiment.tasks:
            work = self._experiment.work(task, cohort)
            one_seed = work.fidelity.model_copy(update={"seeds": 1})
            self._hand_out(replace(work, fidelity=one_seed, first_seed=seed), RETEST, {})

    def collect(self, waiting: bool) -> list[Arrival]:
        """Collect the candidates that have arrived; ``waiting`` waits up to a second for the first one."""
        if waiting and self._pending:
            with self._watch.doing("waiting for trainings"):
                self._executor.wait([pending for _, pending in self._pending], timeout=1.0)
        for news in self._executor.news():
            self._run.log("worker", note=news.text)
            if news.gone is not None:
                self.workforce.mark_gone(news.gone)
            if news.is_warning:
                self._view.warned(news.text)
        if self._recorder.is_due:  # save even while nothing arrives
            self.save()
        done = [(stage, pending) for stage, pending in self._pending if pending.done()]
        if not done:
            return []
        done_ids = {id(pending) for _, pending in done}
        self._pending = [(stage, pending) for stage, pending in self._pending if id(pending) not in done_ids]
        return [arrival for stage, pending in done for arrival in self._take_in(stage, pending)]

    def record(self, evaluations: Iterable[Evaluation]) -> None:
        """Record evaluations, report the new ones to the callbacks, and save if it is time."""
        self._callbacks.evaluated(self._recorder.record(evaluations))
        if self._recorder.is_due:
            self.save()

    def save(self) -> None:
        """Write the evaluations that are not on disk yet, and the summary of the workers."""
        with self._watch.doing("recording"):
            self._recorder.save()
        if workers := self.workforce.summary():
            self._run.write_workers({"seconds": self._watch.rounded(), "workers": workers})

    def _hand_out(self, work: Work, stage: int, states: Mapping[str, States]) -> None:
        recalled, remaining = self._recall(work)
        if recalled is not None:
            self._pending.append((stage, recalled))
        if remaining is not None:
            handles = [
                handle
                for candidate in remaining.candidates
                for handle in states.get(candidate.loss_id, {}).get(work.task, ())
            ]
            distinct = {id(handle): handle for handle in handles}  # one handle holds the states of a whole cohort
            with self._watch.doing("waiting for trainings"):  # the inline executor trains here
                self._pending.append((stage, self._executor.submit(remaining, distinct.values())))

    def _recall(self, work: Work) -> tuple[FinishedWork | None, Work | None]:
        """Split work into the part that is known from before a restart, and the part that remains."""
        known = {candidate: self._find_known_evaluations(candidate, work) for candidate in work.candidates}
        recalled = tuple(candidate for candidate in known if known[candidate])
        remaining = tuple(candidate for candidate in known if not known[candidate])
        result = Result([evaluation for candidate in recalled for evaluation in known[candidate]])
        finished = FinishedWork(replace(work, candidates=recalled), result) if recalled else None
        return finished, replace(work, candidates=remaining) if remaining else None

    def _find_known_evaluations(self, candidate: Candidate, work: Work) -> list[Evaluation]:
        """Return the recorded evaluations of a candidate; none if some are missing and no training failed."""
        if not self._recorder.known:
            return []
        ids = [evaluation_id(candidate, work, seed) for seed in work.seeds]
        evaluations = [self._recorder.known[known_id] for known_id in ids if known_id in self._recorder.known]
        is_complete = len(evaluations) == len(ids) or any(evaluation.status == "failed" for evaluation in evaluations)
        return evaluations if is_complete else []

    def _take_in(self, stage: int, done: Pending) -> Iterator[Arrival]:
        """Record the result of work, and yield the candidates that have now arrived on every task."""
        evaluations = [self._recorder.known.get(evaluation.evaluation_id, evaluation) for evaluation in done.result()]
        self.workforce.add(done.spent())
        self.record(evaluations)
        for note in done.notes():
            self._run.log("cohort", note=note)
        fitness: dict[str, list[float]] = {}
        for evaluation in evaluations:
            if evaluation.fitness is not None:
                fitness.setdefault(evaluation.loss_id, []).append(evaluation.fitness)
        for candidate in done.work.candidates:
            by_seed = fitness.get(candidate.loss_id, [])
            is_finished, states = len(by_seed) == done.work.fidelity.seeds, {done.work.task: done.states()}
            scores = self._scores.setdefault((candidate, stage), {})
            scores[done.work.task] = Score(mean(by_seed), states) if is_finished else None
            if len(scores) == len(self._experiment.tasks):
                del self._scores[candidate, stage]
                arrival = Arrival(candidate, stage, mean_score(scores))
                if stage != RETEST:
                    self._count(arrival, done.work)
                yield arrival
        self._view.moved(self._progress)

    def _note_steps(self, steps: int) -> None:
        """Show the steps that trainings in flight have taken."""
        self._progress.trained = steps / self._steps_of_a_candidate
        self._view.moved(self._progress)

    def _count(self, arrival: Arrival, work: Work) -> None:
        """Count a candidate that failed or was trained to the end."""
        if arrival.score is None:
            self._progress.count_training(arrival.candidate, None)
        elif work.until == work.fidelity.steps:
            self._progress.count_training(arrival.candidate, arrival.score.fitness)


def group_cohorts(candidates: Iterable[Candidate], size: int) -> Iterator[list[Candidate]]:
    """Group candidates by their kind of class weights. Yield each cohort once it is full, and the rest at the end."""
    open_cohorts: dict[str | None, list[Candidate]] = {}
    for candidate in candidates:
        cohort = open_cohorts.setdefault(candidate.class_weights, [])
        cohort.append(candidate)
        if len(cohort) == size:
            yield open_cohorts.pop(candidate.class_weights)
    yield from open_cohorts.values()
