"""Fidelity study: candidates are trained fully and by proxies, under other seeds, and what each was worth is kept.

Everything is measured on the validation split; the test split is not loaded.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from lossearch.engine.admission import Refusal
from lossearch.engine.breeding import Breeding, birth_of_named
from lossearch.evaluators.executors.executor import Executor
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import TASKS
from lossearch.evaluators.work import Candidate, Work
from lossearch.primitives.errors import UserError
from lossearch.results.findings.proxies import (
    FULL,
    PROXIES,
    SEEDS,
    ProxyLine,
    ProxyValue,
    proxy_lines,
    write_lines,
    write_values,
)
from lossearch.results.records import Measurement
from lossearch.runs.declaration import Declaration, ExecutorSettings, require_distinct, require_tasks, validate_as
from lossearch.runs.directory import Directory
from lossearch.runs.experiment import EvolutionSettings, Experiment
from lossearch.runs.progress import Progress
from lossearch.runs.session import RunInterrupted, executor_for, require_data, running
from lossearch.runs.timing import Stopwatch
from lossearch.runs.views import ComparisonView, SilentComparison, SilentView
from lossearch.studies.measuring import MeasurementRunner, trainings
from lossearch.studies.survivors import suitable_baselines

# --- The directory of a study of proxies: what is trained, as declared, every measurement, and the files that follow.

#: Fewer candidates say nothing about a ranking.
FEWEST = 10


class FidelityPlan(Declaration):
    """Candidates on tasks, each trained fully and by shorter trainings, validated before anything runs."""

    tasks: tuple[str, ...] = Field(min_length=1, description="names of tasks; see 'lossearch tasks'")
    candidates: int = Field(60, ge=FEWEST, le=10_000, description="losses that are ranked")
    seeds: int = Field(4, ge=1, le=1_000, description="full trainings of each candidate")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of every random choice")
    executor: ExecutorSettings = Field(default_factory=ExecutorSettings)

    @model_validator(mode="before")
    @classmethod
    def _with_trainings(cls, declared: Any) -> Any:
        """Every task's full training, so that a run goes on under the same ones alone."""
        tasks = declared.get("tasks", ()) if isinstance(declared, dict) else ()
        if not isinstance(tasks, list | tuple) or not all(isinstance(each, str) for each in tasks):
            return declared
        require_tasks(tasks, {})
        seeds = declared.get("seeds", cls.model_fields["seeds"].default)
        return {"fidelity_of": full_trainings(tasks, seeds)} | declared | {"tasks": tuple(tasks)}

    @field_validator("tasks")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return require_distinct("task", names)


def full_trainings(tasks: Any, seeds: Any) -> dict[str, dict[str, Any]]:
    """The trainings by which a comparison judges losses on known tasks, under so many seeds."""
    from lossearch.evaluators.tasks import known_task

    return {name: known_task(name).fidelity.model_dump() | {"seeds": seeds} for name in tasks}


class FidelityDirectory(Directory[FidelityPlan, Measurement]):
    """The directory of a study of proxies."""

    FILE, PARTS, FOLDERS, RECORD = "fidelity.toml", "measurements", ("measurements",), Measurement

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str) -> FidelityPlan:
        """The plan of a dictionary. Raises ExperimentError."""
        return validate_as(FidelityPlan, declared, source)


#: The first seeds of full trainings and of proxies: what else is trained has others.
SEEDS_OF_FULL, SEEDS_OF_PROXIES = 7_000_000, 8_000_000


@dataclass
class FidelityStudy:
    """One study in its directory, on an executor, watched by a view."""

    plan: FidelityPlan
    run: FidelityDirectory
    executor: Executor
    view: ComparisonView

    def __post_init__(self) -> None:
        self.measured = MeasurementRunner.of_run(self.run, self.plan.executor, self.executor, self.view)

    def execute(self) -> list[ProxyValue]:
        """Train what is not measured yet, and say what each training was worth."""
        self.measured.restore()
        works = self._works()
        self.view.planned(sum(trainings(work) for _, work in works))
        self.measured.complete([work for _, work in works])
        return [value for proxy, work in works for value in self._values(proxy, work)]

    def _works(self) -> list[tuple[str, Work]]:
        """Every training by what it stands for, task after task."""
        tasks, plan = self.plan.tasks, self.plan
        searches = [Experiment(name="fidelity", task=task, seed=plan.seed) for task in tasks]
        found = samples(searches, plan.candidates)
        return [each for task, own in zip(tasks, found, strict=True) for each in self._of_task(task, own)]

    def _of_task(self, task: str, candidates: tuple[Candidate, ...]) -> Iterator[tuple[str, Work]]:
        if len(candidates) < FEWEST:
            raise UserError(
                f"{task}: expected {FEWEST} candidates at least, got {len(candidates)} that are worth training. Ask "
                "for more."
            )
        full = self.plan.fidelity_of[task]
        yield FULL, self._work(task, candidates, full, SEEDS_OF_FULL)
        for proxy, divisor in PROXIES.items():
            seeds = max(*SEEDS, full.seeds) if divisor == 1 else max(SEEDS)  # all steps stand for the full one again
            yield proxy, self._work(task, candidates, proxy_of(full, proxy, seeds), SEEDS_OF_PROXIES)

    def _work(self, task: str, candidates: tuple[Candidate, ...], fidelity: TrainingSettings, first_seed: int) -> Work:
        return Work(
            candidates,
            task,
            fidelity,
            self.plan.seed,
            device=self.plan.executor.device,
            measured="validation",
            first_seed=first_seed,
            unhurried=True,
        )

    def _values(self, proxy: str, work: Work) -> Iterator[ProxyValue]:
        """What every candidate was worth after the work, under each seed."""
        for candidate in work.candidates:
            for found in self.measured.of(candidate, work) or ():
                yield ProxyValue(
                    task=work.task,
                    loss_id=candidate.loss_id,
                    formula=candidate.formula,
                    name=candidate.name,
                    class_weights=candidate.class_weights,
                    proxy=proxy,
                    steps=work.fidelity.steps,
                    full_steps=self.plan.fidelity_of[work.task].steps,
                    seed=found.seed,
                    metric=found.measure,
                    fitness=found.value,
                    reason=found.reason,
                )


# --- Launches a study of proxies: whether a short training ranks losses as the full one does.


class FidelityInterrupted(RunInterrupted):
    """The study was stopped from outside; the same call with its directory as ``out`` goes on."""


@dataclass(frozen=True)
class ProxiesJudged:
    """A finished study: its directory and its table."""

    path: Path
    lines: list[ProxyLine]


def fidelity(
    tasks: Sequence[str] | None = None,
    *,
    candidates: int = 60,
    seeds: int = 4,
    seed: int = 0,
    out: str | Path | None = None,
    executor: str | None = None,
    view: ComparisonView | None = None,
) -> ProxiesJudged:
    """Rank candidates by their full training and by shorter ones under other seeds, and say how well these agree.

    ``tasks`` are names (default: all that need no download). ``candidates`` are known losses, and formulas that a
    search admits at its beginning; each is trained fully under ``seeds`` seeds. ``out`` is where ``values.parquet``
    and ``table.parquet`` are written (default: a new ``runs/fidelity-<time>``); the same call with its ``out`` goes on
    where one was stopped. ``executor`` is ``ray`` or ``inline``.

    Raises UserError, RunDirectoryError, and FidelityInterrupted on Ctrl-C.
    """
    if tasks is None:
        tasks = [name for name, task in TASKS.items() if not task.needs_download]
    if not tasks:
        raise UserError("Expected tasks, got an empty list. Name some, or leave tasks out for all without download.")
    declared = {"name": "fidelity", "tasks": tasks, "candidates": candidates, "seeds": seeds, "seed": seed}
    plan = FidelityDirectory.validated(declared, "fidelity")
    require_data(plan, plan.tasks)
    path = None if out is None else Path(out)
    goes_on = path is not None and os.path.exists(path / FidelityDirectory.FILE)  # no error where it is too long
    workers = executor_for(plan.executor, executor)
    try:
        with running(FidelityDirectory, plan, path, goes_on, FidelityInterrupted) as run:
            watching = view or SilentComparison()
            watching.started(run.path)
            values = FidelityStudy(plan, run, workers, watching).execute()
            lines = proxy_lines(values)
            write_values(run.path, values)
            write_lines(run.path, lines)
            return ProxiesJudged(run.path, lines)
    finally:
        workers.close()


# --- Samples of candidates on which proxies are judged: known losses, and what a search admits at its beginning.
#
# Nothing is chosen by hand: known losses are drawn by the seed where there are too many, and the others are the
# first random formulas that a search with the defaults of an experiment admits.

#: Share of a sample that known losses take at most.
KNOWN_SHARE = 0.7


def samples(experiments: Sequence[Experiment], count: int) -> list[tuple[Candidate, ...]]:
    """So many candidates for the task of each experiment, no two of which train alike; fewer where no more are found.

    What an experiment says of evolution is left out. Tasks that the same known losses suit have the same sample.
    """
    drawn: dict[tuple[str, ...], tuple[Candidate, ...]] = {}
    found = []
    for experiment in experiments:
        known = tuple(suitable_baselines(experiment))
        if known not in drawn:
            drawn[known] = tuple(_sample(known, experiment, count))
        found.append(drawn[known])
    return found


def _sample(known: Sequence[str], experiment: Experiment, count: int) -> list[Candidate]:
    unseeded = experiment.model_copy(update={"evolution": EvolutionSettings(seeds=())})
    breeding = Breeding(unseeded, lambda refused: None, Progress(1), SilentView(), Stopwatch())
    decisions = breeding.admission.screen([birth_of_named(name) for name in known], 0)
    admitted = [each for each in decisions if not isinstance(each, Refusal)]
    room = int(KNOWN_SHARE * count)
    places = random.Random(experiment.seed).sample(range(len(admitted)), min(room, len(admitted)))
    found = [admitted[place] for place in sorted(places)]
    return [*found, *breeding.candidates(count - len(found), 1)]


# --- Proxies: trainings that stand in for a task's full one, each with fewer steps on a schedule of its own.


def proxy_of(full: TrainingSettings, proxy: str, seeds: int) -> TrainingSettings:
    """A proxy of a full training by its name, trained to its end under so many seeds."""
    return shortened(full, max(1, full.steps // PROXIES[proxy]), seeds)


def shortened(full: TrainingSettings, steps: int, seeds: int) -> TrainingSettings:
    """The training in so many steps under so many seeds; what counts steps shrinks with them, and rungs are left out.

    A plateau's epoch is one step at least. Beside another schedule an epoch says when a comparison saves trainings
    alone, and stays. Raises ValueError where a schedule of steps has no room.
    """
    epoch = full.epoch
    if full.schedule == "plateau" and epoch is not None:
        epoch = max(1, epoch * steps // full.steps)  # so that the rate may fall as often as in the full training
    changed = {
        "steps": steps,
        "seeds": seeds,
        "rungs": (),
        "milestones": tuple(each * steps // full.steps for each in full.milestones),
        "warm_up": full.warm_up * steps // full.steps,
        "epoch": epoch,
    }
    return TrainingSettings.model_validate(full.model_dump() | changed)
