"""A search: its parts, its checkpoints, and how it continues after a stop.

Invariant: the run's directory is the only source of truth. What was recorded stays as it is and is not trained again.
A checkpoint opens every generation, so a run that was stopped at any point can go on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lossearch.callbacks import Callbacks
from lossearch.engine.admission import Admission
from lossearch.engine.archive_file import ArchiveFile
from lossearch.engine.breeding import Breeding
from lossearch.engine.dispatch import RETEST, Arrival, Dispatcher
from lossearch.engine.warning_signs import warn_of_baseline, warn_of_equal_scores
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.work import Candidate
from lossearch.evolution.members import Member
from lossearch.primitives.errors import shown
from lossearch.primitives.identity.fingerprint import FingerprintArchive
from lossearch.primitives.language.parser import parse
from lossearch.results.records import BASELINE
from lossearch.results.storage.logged_warnings import EVENT as WARNING
from lossearch.results.storage.recorder import Recorder
from lossearch.results.storage.run_files import ForeignFile
from lossearch.runs.directory import CHECKPOINT_VERSION, RunDirectory, RunDirectoryError
from lossearch.runs.experiment import Experiment
from lossearch.runs.progress import Progress
from lossearch.runs.timing import Stopwatch
from lossearch.runs.views import View

#: Errors of a checkpoint with other data than a run writes.
_INVALID = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError, OSError)


@dataclass
class Search:
    """One run of an experiment in its directory, on an executor, shown by a view.

    A subclass runs the generations in ``_run_generations``, and continues from a checkpoint in ``_take_up``.
    """

    experiment: Experiment
    run: RunDirectory
    executor: Executor
    view: View
    callbacks: Callbacks = field(default_factory=Callbacks)

    def __post_init__(self) -> None:
        self.progress = Progress(self.experiment.evolution.generations)
        self.watch = Stopwatch()
        self.recorder = Recorder(self.run.store, lambda evaluation: evaluation.evaluation_id)
        self.dispatcher = Dispatcher(
            self.experiment,
            self.run,
            self.executor,
            self.recorder,
            self.progress,
            self.view,
            self.watch,
            self.callbacks,
        )
        self.breeding = Breeding(self.experiment, self.dispatcher.record, self.progress, self.view, self.watch)
        self.archive_file = ArchiveFile(self.run.path / "checkpoint" / "archive.jsonl")

    @property
    def first_training(self) -> TrainingSettings:
        """The training on the first task; every task has the same number of seeds and rungs."""
        return self.experiment.training_on(self.experiment.tasks[0])

    def execute(self, start: int = 0) -> None:
        """Run the generations from ``start`` on. Whatever stops the search, all evaluations are saved."""
        try:
            self._run_generations(start)
        finally:
            self.dispatcher.save()

    def restore(self) -> int:
        """Continue from the run's directory. Return the number of the generation to start with, from 0.

        Parts that cannot be read are set aside. The run then goes through its generations again from the first: the
        same candidates are born, and only the lost trainings are done again. Raises RunDirectoryError for a damaged
        checkpoint.
        """
        damages = self.recorder.restore(before_setting_aside=self.run.forget_checkpoint)
        for kept, damage in damages:
            self.view.warned(f"{damage.reason}. Set aside as {kept}; its evaluations are done again.")
            self.run.log("damaged part set aside", part=kept)
        state = None if damages else self.run.load_checkpoint()
        try:
            if state is not None and self._lacks_evaluations(state):
                self.run.forget_checkpoint()
                state = None
            if state is not None:
                self.breeding.evolution.restore(state["evolution"], parse, state["births"])
                archive = FingerprintArchive(self.archive_file.read(state["archive"]))
                self.breeding.admission = Admission(archive, state["births"])
                self.progress.restore(state["progress"])
            self._take_up(state)
            return 0 if state is None else int(state["generation"])
        except ForeignFile:
            raise
        except _INVALID as error:
            raise RunDirectoryError(
                f"{self.run.path / 'checkpoint'}: expected a checkpoint of this run, got one with "
                f"{shown(repr(error), 200)}. Remove the files in it: the run then starts again from its evaluations, "
                "which are kept."
            ) from None

    def _run_generations(self, start: int) -> None:
        """Run the generations from ``start`` on."""
        raise NotImplementedError

    def _take_up(self, state: dict[str, Any] | None) -> None:
        """Restore what the subclass adds to a checkpoint; ``state`` is None if there is no checkpoint."""

    def _end_generation(self, number: int) -> None:
        """Let losses migrate if it is time, and report the progress; ``number`` counts from 1."""
        if number % self.experiment.evolution.migration_interval == 0:
            self.breeding.evolution.migrate()
        self._show_progress(number)
        self.callbacks.generation_ended(number, self.progress)
        if number == 1:
            self.warn(warn_of_equal_scores(self.recorder.known.values()))

    def _collect(self, waiting: bool) -> list[Arrival]:
        """Collect the candidates that have arrived. Warn if cross-entropy is among them and learned nothing."""
        arrivals = self.dispatcher.collect(waiting)
        if any(self._is_result_of_baseline(arrival) for arrival in arrivals):
            self.warn(warn_of_baseline(self.experiment, self.recorder.known.values()))
        return arrivals

    def _is_result_of_baseline(self, arrival: Arrival) -> bool:
        has_ended = arrival.score is None or arrival.stage == len(self.first_training.stages) - 1
        return arrival.candidate.name == BASELINE and arrival.stage != RETEST and has_ended

    def _show_progress(self, number: int) -> None:
        """Show and log the progress at the end of a generation. Of several entries of one, the last counts."""
        self.view.generation_ended(self.progress)
        self.run.log("generation", number=number, **self.progress.counts(), seconds=self.watch.rounded())

    def warn(self, messages: Iterable[str]) -> None:
        """Show warnings, and log them for the end of the search."""
        for message in messages:
            self.view.warned(message)
            self.run.log(WARNING, message=message)

    def _save_checkpoint(self, generation: int, **more: Any) -> None:
        """Save all evaluations, then a checkpoint that counts them."""
        self.dispatcher.save()
        with self.watch.doing("recording"):
            self.run.save_checkpoint(
                {
                    "version": CHECKPOINT_VERSION,
                    "generation": generation,
                    "evolution": self.breeding.evolution.state(),
                    "evaluations": len(self.recorder.recorded),
                    "archive": self.archive_file.append(self.breeding.admission.archive.entries),
                    "births": self.breeding.admission.births,
                    "progress": self.progress.counts(),
                    **more,
                }
            )

    def _lacks_evaluations(self, state: dict[str, Any]) -> bool:
        """Return True, with a warning, if the run has fewer evaluations than its checkpoint counts."""
        num_missing = int(state["evaluations"]) - len(self.recorder.recorded)
        if num_missing > 0:
            self.view.warned(f"{num_missing} evaluations that the checkpoint counts are gone; they are done again.")
            self.run.log("evaluations missing", count=num_missing)
        return num_missing > 0


def to_member(candidate: Candidate, fitness: float) -> Member:
    """Convert a candidate that was trained to the end into a member of a population."""
    formula = parse(candidate.formula)
    return Member(candidate.loss_id, formula, fitness, candidate.class_weights, candidate.island)


def planned_trainings(experiment: Experiment) -> int:
    """Count the trainings of a search in which every generation finds all its candidates."""
    settings = experiment.evolution
    first = max(settings.population, len(settings.seeds)) + (BASELINE not in settings.seeds)
    num_candidates = first + settings.population * (settings.generations - 1)
    return num_candidates * experiment.fidelity.seeds * len(experiment.tasks)
