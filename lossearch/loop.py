"""The search: ask, screen, evaluate, record, tell, until the generations are through.

Invariant: the run's directory is the one source of truth. A checkpoint opens every generation, what was recorded
stays as it is and is not asked for again, and what a generation tells evolution depends on the seed alone, never on the
order in which results arrive. So a run that was stopped anywhere goes on as if it had not been.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from evaluators.executors import Executor, FinishedWork, Pending
from evaluators.work import Candidate, Result, Work, evaluation_id
from lossearch.admission import Admission, Refusal
from lossearch.evolution import Birth, Evolution, Member
from lossearch.experiment import Experiment
from lossearch.progress import Progress, SearchView
from lossearch.run_directory import CHECKPOINT_VERSION, RunDirectory, RunDirectoryError
from lossearch.seeds import read_seed
from lossearch.standing import Standing, promoted, standing_on_all
from lossearch.stopwatch import Stopwatch
from primitives.fingerprint import FingerprintArchive
from primitives.parser import parse
from results.leaderboard_rows import BASELINE
from results.recorder import Recorder
from results.records import Evaluation
from results.statistics import mean

#: Births considered for each candidate wanted, before a generation makes do with fewer.
BIRTHS_PER_CANDIDATE = 60


@dataclass
class Search:
    """One run of an experiment in its directory, on an executor, watched by a view."""

    experiment: Experiment
    run: RunDirectory
    executor: Executor
    view: SearchView

    def __post_init__(self) -> None:
        settings = self.experiment.evolution
        births = [birth_of_seed(text) for text in settings.seeds]
        self.evolution = Evolution(settings, births, random.Random(self.experiment.seed))
        self.admission = Admission()
        self.progress = Progress(settings.generations)
        self.watch = Stopwatch()
        self.recorder = Recorder(self.run.store, lambda each: each.evaluation_id)

    def execute(self, start: int = 0) -> None:
        """Run the generations from ``start`` on. Whatever stops it, what was evaluated is recorded."""
        generations = self.experiment.evolution.generations
        try:
            for generation in range(start, generations):
                self._save_checkpoint(generation)
                self.progress.generation = generation + 1
                members = self._generation(generation)
                with self.watch.doing("selecting"):
                    self.evolution.tell(members)
                self.view.generation_ended(self.progress)
                counts = self.progress.counts()
                self.run.log("generation", number=generation + 1, **counts, seconds=self.watch.rounded())
            self._save_checkpoint(generations)
        finally:
            self._save_evaluations()

    def _generation(self, number: int) -> list[Member]:
        """Train a generation's candidates, from rung to rung, and return those that were trained to the end.

        They come in the order of their birth. At a rung the best go on from where they stand; the others stop.
        """
        fidelity = self.experiment.training_on(self.experiment.tasks[0])
        stand = self._trained(self._admitted(number), 0, {})
        for stage in range(1, len(fidelity.stages)):
            going_on = promoted(stand, fidelity.reduction_factor)
            self.progress.stopped += len(stand) - len(going_on)
            self.view.moved(self.progress)
            stand = self._trained(going_on, stage, {each.loss_id: stand[each].states for each in going_on})
        return [
            Member(each.loss_id, parse(each.formula), stand[each].fitness, each.class_weights)
            for each in sorted(stand, key=lambda each: each.birth_number)
            if each.birth != "baseline"
        ]

    def _trained(
        self, entering: Iterable[Candidate], stage: int, states: Mapping[str, Mapping[str, list[Any]]]
    ) -> dict[Candidate, Standing]:
        """Train candidates up to a stage on every task, from their states on, and return how those that did stand.

        A candidate that failed on one task has failed.
        """
        found: dict[Candidate, dict[str, Standing | None]] = {}
        pending: list[Pending] = []
        for cohort in self._cohorts(entering, self._cohort_size(entering)):
            for task in self.experiment.tasks:
                before = {each.loss_id: states[each.loss_id][task] for each in cohort if each.loss_id in states}
                pending.append(self._submit(self._work(cohort, task, stage), before))
            pending = self._take_in(pending, found)
        while pending:
            with self.watch.doing("waiting for trainings"):
                self.executor.wait(pending, timeout=1.0)
            pending = self._take_in(pending, found)
        self._save_evaluations()
        together = ((candidate, standing_on_all(on_each)) for candidate, on_each in found.items())
        return {candidate: standing for candidate, standing in together if standing is not None}

    def _admitted(self, generation: int) -> Iterator[Candidate]:
        """Births that are worth training: the first generation's seeds first, then as many as are wanted."""
        settings = self.experiment.evolution
        if generation == 0 and BASELINE not in settings.seeds:
            yield from self._decided(birth_of_seed(BASELINE, "baseline"), generation)
        wanted = settings.population
        for _ in range(wanted * BIRTHS_PER_CANDIDATE):
            if wanted <= 0 and not self.evolution.has_seeds_left:
                return
            with self.watch.doing("breeding"):
                birth = self.evolution.ask()
            for candidate in self._decided(birth, generation):
                wanted -= 1
                yield candidate

    def _cohort_size(self, entering: Iterable[Candidate]) -> int:
        """Candidates in a cohort: as declared, or so many that every worker has something to do."""
        declared = self.experiment.executor.cohort_size
        if declared != "auto":
            return declared
        count = len(entering) if isinstance(entering, Sized) else self.experiment.evolution.population
        return max(1, min(self.executor.largest_cohort, math.ceil(count / self.executor.slots)))

    def _cohorts(self, candidates: Iterable[Candidate], size: int) -> Iterator[list[Candidate]]:
        """The candidates in cohorts of one kind of class weights, as soon as each is full, then the rest."""
        open_cohorts: dict[str | None, list[Candidate]] = {}
        for candidate in candidates:
            cohort = open_cohorts.setdefault(candidate.class_weights, [])
            cohort.append(candidate)
            if len(cohort) == size:
                yield open_cohorts.pop(candidate.class_weights)
        yield from open_cohorts.values()

    def _decided(self, birth: Birth, generation: int) -> Iterator[Candidate]:
        with self.watch.doing("breeding"):
            decision = self.admission.decide(birth, generation)
        if isinstance(decision, Refusal):
            self.progress.refused(decision.status)
            self._record([decision.evaluation(self._work([decision.candidate], self.experiment.tasks[0]))])
        else:
            yield decision
        self.view.moved(self.progress)

    def _work(self, candidates: Sequence[Candidate], task: str, stage: int | None = None) -> Work:
        """Candidates on a task, up to one of its stages by its number."""
        experiment, fidelity = self.experiment, self.experiment.training_on(task)
        return Work(
            tuple(candidates),
            task,
            fidelity,
            experiment.seed,
            None if stage is None else fidelity.stages[stage],
            experiment.executor.device,
            data=experiment.data.get(task),
        )

    def _submit(self, work: Work, states: Mapping[str, list[Any]]) -> Pending:
        """Hand out a cohort, unless all of it is known from before a restart."""
        recalled = [self._recalled(candidate, work) for candidate in work.candidates]
        if all(recalled):
            return FinishedWork(work, Result([evaluation for found in recalled for evaluation in found or []]))
        before = {id(handle): handle for of_candidate in states.values() for handle in of_candidate}
        with self.watch.doing("waiting for trainings"):  # which the inline executor does here
            return self.executor.submit(work, before.values())

    def _recalled(self, candidate: Candidate, work: Work) -> list[Evaluation] | None:
        """The candidate's evaluations from before a restart, where they are complete."""
        ids = [evaluation_id(candidate, work, seed) for seed in range(work.fidelity.seeds)]
        found = [self.recorder.known[each] for each in ids if each in self.recorder.known]
        complete = len(found) == len(ids) or any(each.status == "failed" for each in found)
        return found if complete else None

    def _take_in(self, pending: list[Pending], stand: dict[Candidate, dict[str, Standing | None]]) -> list[Pending]:
        """Record the work that is done, and return the work that is not."""
        waiting = []
        for each in pending:
            if not each.done():
                waiting.append(each)
                continue
            evaluations = [self.recorder.known.get(found.evaluation_id, found) for found in each.result()]
            self._record(evaluations)
            for note in each.notes():
                self.run.log("cohort", note=note)
            for candidate in each.work.candidates:
                fitness = _fitness(candidate, evaluations)
                finished = len(fitness) == each.work.fidelity.seeds
                on_each = stand.setdefault(candidate, {})
                on_each[each.work.task] = Standing(mean(fitness), {each.work.task: each.states()}) if finished else None
                if len(on_each) == len(self.experiment.tasks):
                    self._count(candidate, standing_on_all(on_each), each.work)
            self.view.moved(self.progress)
        return waiting

    def _count(self, candidate: Candidate, standing: Standing | None, work: Work) -> None:
        """Count a candidate that failed, or was trained to the end."""
        if standing is None:
            self.progress.trained(candidate, None)
        elif work.until == work.fidelity.steps:
            self.progress.trained(candidate, standing.fitness)

    def _record(self, evaluations: list[Evaluation]) -> None:
        self.recorder.record(evaluations)
        if self.recorder.is_due:
            self._save_evaluations()

    def _save_evaluations(self) -> None:
        with self.watch.doing("recording"):
            self.recorder.save()

    def _save_checkpoint(self, generation: int) -> None:
        self.run.save_checkpoint(
            {
                "version": CHECKPOINT_VERSION,
                "generation": generation,
                "evolution": self.evolution.state(),
                "evaluations": len(self.recorder.known),
                "archive": self.admission.archive.entries,
                "births": self.admission.births,
                "progress": self.progress.state(),
            }
        )

    def restore(self) -> int:
        """Continue from the run's directory; returns the generation to start with.

        Parts that cannot be read are set aside, and the run then goes through its generations again from the
        first: candidates are born as before, and only the lost trainings are done anew.
        """
        damages = self.recorder.restore(before_setting_aside=self.run.forget_checkpoint)
        for kept, damage in damages:
            self.view.warned(f"{damage.reason}. Set aside as {kept}; its evaluations are done again.")
            self.run.log("damaged part set aside", part=kept)
        state = self.run.load_checkpoint()
        if state is None or damages:
            return 0
        try:
            missing = int(state["evaluations"]) - len(self.recorder.known)
            if missing > 0:
                self.view.warned(f"{missing} evaluations that the checkpoint counts are gone; they are done again.")
                self.run.log("evaluations missing", count=missing)
                return 0
            self.evolution.restore(state["evolution"], parse)
            entries = [((str(kind), *views), str(loss)) for (kind, *views), loss in state["archive"]]
            self.admission = Admission(FingerprintArchive(entries), state["births"])
            self.progress.restore(state["progress"])
            return int(state["generation"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RunDirectoryError(
                f"{self.run.path / 'checkpoint'}: expected a checkpoint of this run, got one with {error!r}. Remove "
                "the file in it: the run then starts again from its evaluations, which are kept."
            ) from None


def _fitness(candidate: Candidate, evaluations: Sequence[Evaluation]) -> list[float]:
    own = (each for each in evaluations if each.loss_id == candidate.loss_id)
    return [each.fitness for each in own if each.fitness is not None]


def birth_of_seed(text: str, how: str = "known") -> Birth:
    """The birth of a known loss by its name, or of a formula."""
    seed = read_seed(text)
    return Birth(seed.formula, how, name=seed.name, class_weights=seed.class_weights)


def planned_trainings(experiment: Experiment) -> int:
    """Trainings of a search, if every generation finds as many candidates as it wants."""
    settings = experiment.evolution
    first = max(settings.population, len(settings.seeds)) + (BASELINE not in settings.seeds)
    candidates = first + settings.population * (settings.generations - 1)
    return candidates * experiment.fidelity.seeds * len(experiment.tasks)
