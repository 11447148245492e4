"""A search: its parts, its checkpoints, and how it goes on after it was stopped.

Invariant: the run's directory is the one source of truth. What was recorded stays as it is and is not asked for again,
and a checkpoint opens every generation, so that a run that was stopped anywhere goes on.
"""

from dataclasses import dataclass, field
from typing import Any

from lossearch.callbacks import Callbacks
from lossearch.engine.admission import Admission
from lossearch.engine.breeding import Breeding
from lossearch.engine.dispatch import Dispatcher
from lossearch.engine.resume import ArchiveFile
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.work import Candidate
from lossearch.evolution.members import Member
from lossearch.primitives.identity.fingerprint import FingerprintArchive
from lossearch.primitives.language.parser import parse
from lossearch.results.records import BASELINE
from lossearch.results.storage.store import Recorder
from lossearch.runs.directory import CHECKPOINT_VERSION, RunDirectory, RunDirectoryError
from lossearch.runs.experiment import Experiment
from lossearch.runs.progress import Progress, Stopwatch
from lossearch.runs.views import View


@dataclass
class Search:
    """One run of an experiment in its directory, on an executor, watched by a view."""

    experiment: Experiment
    run: RunDirectory
    executor: Executor
    view: View
    callbacks: Callbacks = field(default_factory=Callbacks)

    def __post_init__(self) -> None:
        self.progress = Progress(self.experiment.evolution.generations)
        self.watch = Stopwatch()
        self.recorder = Recorder(self.run.store, lambda each: each.evaluation_id)
        self.trainings = Dispatcher(
            self.experiment,
            self.run,
            self.executor,
            self.recorder,
            self.progress,
            self.view,
            self.watch,
            self.callbacks,
        )
        self.breeding = Breeding(self.experiment, self.trainings.record, self.progress, self.view, self.watch)
        self.archive_file = ArchiveFile(self.run.path / "checkpoint" / "archive.jsonl")

    def execute(self, start: int = 0) -> None:
        """Run the generations from ``start`` on. Whatever stops it, what was evaluated is recorded."""
        try:
            self._go_on(start)
        finally:
            self.trainings.save()

    def _go_on(self, start: int) -> None:
        raise NotImplementedError

    def _generation_ended(self, number: int) -> None:
        """Let losses migrate, now and then, and tell how far the search is; ``number`` counts from 1."""
        if number % self.experiment.evolution.migration_interval == 0:
            self.breeding.evolution.migrate()
        self.view.generation_ended(self.progress)
        self.callbacks.generation_ended(number, self.progress)
        self.run.log("generation", number=number, **self.progress.counts(), seconds=self.watch.rounded())

    def _save_checkpoint(self, generation: int, **more: Any) -> None:
        """Keep where the search stands, after everything recorded was written."""
        self.trainings.save()
        with self.watch.doing("recording"):
            self.run.save_checkpoint(
                {
                    "version": CHECKPOINT_VERSION,
                    "generation": generation,
                    "evolution": self.breeding.evolution.state(),
                    "evaluations": len(self.recorder.recorded),
                    "archive": self.archive_file.append(self.breeding.admission.archive.entries),
                    "births": self.breeding.admission.births,
                    "progress": self.progress.state(),
                    **more,
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
        state = None if damages else self.run.load_checkpoint()
        try:
            if state is not None and self._misses_evaluations(state):
                self.run.forget_checkpoint()
                state = None
            if state is not None:
                self.breeding.evolution.restore(state["evolution"], parse, state["births"])
                archive = FingerprintArchive(self.archive_file.read(state["archive"]))
                self.breeding.admission = Admission(archive, state["births"])
                self.progress.restore(state["progress"])
            self._take_up(state)
            return 0 if state is None else int(state["generation"])
        except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
            raise RunDirectoryError(
                f"{self.run.path / 'checkpoint'}: expected a checkpoint of this run, got one with {error!r}. Remove "
                "the files in it: the run then starts again from its evaluations, which are kept."
            ) from None

    def _misses_evaluations(self, state: dict[str, Any]) -> bool:
        missing = int(state["evaluations"]) - len(self.recorder.recorded)
        if missing > 0:
            self.view.warned(f"{missing} evaluations that the checkpoint counts are gone; they are done again.")
            self.run.log("evaluations missing", count=missing)
        return missing > 0

    def _take_up(self, state: dict[str, Any] | None) -> None:
        """Continue what a kind of search keeps beside the rest; None where it starts again from its records."""


def member(candidate: Candidate, fitness: float) -> Member:
    """A candidate that was trained to the end, for evolution."""
    formula = parse(candidate.formula)
    return Member(candidate.loss_id, formula, fitness, candidate.class_weights, candidate.island)


def planned_trainings(experiment: Experiment) -> int:
    """Trainings of a search, if every generation finds as many candidates as it wants."""
    settings = experiment.evolution
    first = max(settings.population, len(settings.seeds)) + (BASELINE not in settings.seeds)
    candidates = first + settings.population * (settings.generations - 1)
    return candidates * experiment.fidelity.seeds * len(experiment.tasks)
