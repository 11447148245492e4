"""Study whether short trainings rank losses as full ones do: train candidates both ways, under different seeds.

Everything is measured on the validation split; the test split is not loaded.
"""

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
from lossearch.evaluators.tasks import TASKS, task_on
from lossearch.evaluators.tasks.own_data import own_data
from lossearch.evaluators.work import Candidate, Work
from lossearch.primitives.arguments import refuse_unknown_arguments, require_list, require_path_text, require_whole
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
from lossearch.runs import seed_ranges
from lossearch.runs.declaration import ARGUMENTS, Declaration, require_distinct, validate_as
from lossearch.runs.directory import Directory
from lossearch.runs.experiment import EvolutionSettings, Experiment
from lossearch.runs.own_paths import name_own_data
from lossearch.runs.progress import Progress
from lossearch.runs.session import require_data, require_workers
from lossearch.runs.timing import Stopwatch
from lossearch.runs.views import SilentView, View, require_view
from lossearch.studies.measuring import MeasurementRunner
from lossearch.studies.runner import open_workers, require_place, run_study
from lossearch.studies.staged_training import num_trainings
from lossearch.studies.survivors import suitable_baselines

#: Fewest candidates: fewer say nothing about a ranking.
MIN_CANDIDATES = 10

#: Largest share of known losses in a sample of candidates.
KNOWN_SHARE = 0.7


class FidelityPlan(Declaration):
    """Candidates on tasks, each trained fully and by shorter trainings, validated before anything runs."""

    tasks: tuple[str, ...] = Field(min_length=1, description="names of tasks; see 'lossearch tasks'")
    candidates: int = Field(60, ge=MIN_CANDIDATES, le=10_000, description="losses that are ranked")
    seeds: int = Field(4, ge=1, le=1_000, description="full trainings of each candidate")

    @model_validator(mode="before")
    @classmethod
    def _with_trainings(cls, declared: Any) -> Any:
        """Declare every task's full training: a run continues only under the same ones."""
        tasks = declared.get("tasks", ()) if isinstance(declared, dict) else ()
        if not isinstance(tasks, list | tuple) or not all(isinstance(name, str) for name in tasks):
            return declared
        data = {name: own_data(of_task) for name, of_task in declared.get("data", {}).items()}
        seeds = declared.get("seeds", cls.model_fields["seeds"].default)
        trainings = {name: task_on(name, data.get(name)).fidelity.model_dump() | {"seeds": seeds} for name in tasks}
        return {"fidelity_of": trainings} | declared | {"tasks": tuple(tasks)}

    @field_validator("tasks")
    @classmethod
    def _require_distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return require_distinct("task", names)


class FidelityDirectory(Directory[FidelityPlan, Measurement]):
    """The directory of a fidelity study."""

    FILE, PARTS, FOLDERS, RECORD = "fidelity.toml", "measurements", ("measurements",), Measurement

    @classmethod
    def validated(cls, declared: dict[str, Any], source: str, with_data: bool = True) -> FidelityPlan:
        """Return the plan of a dictionary. Raises ExperimentError."""
        return validate_as(FidelityPlan, declared, source)


@dataclass(frozen=True)
class JudgedProxies:
    """A finished fidelity study: its directory and its table."""

    path: Path
    lines: list[ProxyLine]


@refuse_unknown_arguments
def fidelity(
    tasks: Sequence[str | Path] | None = None,
    *,
    candidates: int = 60,
    seeds: int = 4,
    seed: int = 0,
    out: str | Path | None = None,
    executor: str | None = None,
    view: View | None = None,
) -> JudgedProxies:
    """Rank candidates by their full training and by shorter ones under other seeds, and measure the agreement.

    ``tasks`` are names, or paths of folders of images and of ``.npz`` files (default: all that need no download).
    ``candidates`` are known losses, and formulas that a search admits at its beginning; each is trained fully under
    ``seeds`` seeds. ``out`` is the directory of ``values.parquet`` and ``table.parquet`` (default: a new
    ``runs/fidelity-<time>``); the same call with its ``out`` continues where one was stopped. ``executor`` is ``ray``
    or ``inline``.

    Raises UserError, RunDirectoryError, ClusterUnreachable, and StudyInterrupted on Ctrl-C.
    """
    if tasks is None:
        tasks = [name for name, task in TASKS.items() if not task.needs_download]
    if not require_list("tasks", tasks, "names or paths of tasks"):
        raise UserError("Expected tasks, got an empty list. Name some, or leave tasks out for all without download.")
    require_view(view)
    require_workers(executor, None)
    path = None if out is None else Path(require_path_text("out", out))
    names, data = name_own_data(tasks)
    size = {
        "candidates": require_whole("candidates", candidates),
        "seeds": require_whole("seeds", seeds),
        "seed": require_whole("seed", seed, "of 0 or more"),
    }
    declared = {"name": "fidelity", "tasks": names, "data": data, **size}
    plan = FidelityDirectory.validated(declared, ARGUMENTS)
    require_place(FidelityDirectory, plan, path)
    require_data(plan, plan.tasks)
    with open_workers(plan.executor, executor) as workers:

        def judge_proxies(run: FidelityDirectory, view: View) -> JudgedProxies:
            values = FidelityStudy(plan, run, workers, view).execute()
            lines = proxy_lines(values)
            write_values(run.path, values)
            write_lines(run.path, lines)
            return JudgedProxies(run.path, lines)

        return run_study("fidelity study", FidelityDirectory, plan, path, judge_proxies, view)


@dataclass
class FidelityStudy:
    """Trains candidates fully and by proxies, and keeps everything in the directory of the study."""

    plan: FidelityPlan
    run: FidelityDirectory
    executor: Executor
    view: View

    def __post_init__(self) -> None:
        self.measured = MeasurementRunner.of_run(self.run, self.plan.executor, self.executor, self.view)

    def execute(self) -> list[ProxyValue]:
        """Train what is not measured yet, and return the value of every candidate after every training."""
        self.measured.restore()
        works = self._make_works()
        self.view.planned(sum(num_trainings(work) for _, work in works))
        self.measured.complete([work for _, work in works])
        return [value for proxy, work in works for value in self._read_values(proxy, work)]

    def _make_works(self) -> list[tuple[str, Work]]:
        """Yield name and work of the full training and of every proxy, task after task."""
        searches = [self._declare_search(task) for task in self.plan.tasks]
        drawn = draw_samples(searches, self.plan.candidates)
        pairs = zip(self.plan.tasks, drawn, strict=True)
        return [named_work for task, sample in pairs for named_work in self._make_works_on(task, sample)]

    def _declare_search(self, task: str) -> Experiment:
        """Declare the search on a task that candidates are drawn from."""
        data = {name: of_task for name, of_task in self.plan.data.items() if name == task}
        return Experiment(name="fidelity", task=task, seed=self.plan.seed, data=data)

    def _make_works_on(self, task: str, sample: tuple[Candidate, ...]) -> Iterator[tuple[str, Work]]:
        if len(sample) < MIN_CANDIDATES:
            raise UserError(
                f"{task}: expected at least {MIN_CANDIDATES} candidates, got {len(sample)} that are worth training. "
                "Ask for more."
            )
        full = self.plan.fidelity_of[task]
        yield FULL, self.plan.work(task, sample, measured="validation", first_seed=seed_ranges.FULL_TRAINING)
        for proxy, divisor in PROXIES.items():
            # The proxy of all steps repeats the full training under other seeds.
            seeds = max(*SEEDS, full.seeds) if divisor == 1 else max(SEEDS)
            yield (
                proxy,
                self.plan.work(
                    task,
                    sample,
                    fidelity=proxy_of(full, proxy, seeds),
                    measured="validation",
                    first_seed=seed_ranges.PROXY_TRAINING,
                ),
            )

    def _read_values(self, proxy: str, work: Work) -> Iterator[ProxyValue]:
        """Yield the values of all candidates after a training, under each seed."""
        for candidate in work.candidates:
            for record in self.measured.of(candidate, work) or ():
                yield ProxyValue(
                    task=work.task,
                    loss_id=candidate.loss_id,
                    formula=candidate.formula,
                    name=candidate.name,
                    class_weights=candidate.class_weights,
                    proxy=proxy,
                    steps=work.fidelity.steps,
                    full_steps=self.plan.fidelity_of[work.task].steps,
                    seed=record.seed,
                    metric=record.measure,
                    fitness=record.value,
                    reason=record.reason,
                )


def draw_samples(experiments: Sequence[Experiment], count: int) -> list[tuple[Candidate, ...]]:
    """Draw up to ``count`` candidates for the task of each experiment. No two of them train alike.

    Nothing is chosen by hand. Known losses are drawn by the seed if there are too many; the others are the first
    random formulas that a search with the default ``evolution`` admits. Tasks that suit the same known losses share a
    sample.
    """
    by_known: dict[tuple[str, ...], tuple[Candidate, ...]] = {}
    drawn = []
    for experiment in experiments:
        known = tuple(suitable_baselines(experiment))
        if known not in by_known:
            by_known[known] = tuple(_draw_sample(known, experiment, count))
        drawn.append(by_known[known])
    return drawn


def _draw_sample(known: Sequence[str], experiment: Experiment, count: int) -> list[Candidate]:
    without_starting_losses = experiment.model_copy(update={"evolution": EvolutionSettings(seeds=())})
    breeding = Breeding(without_starting_losses, lambda refused: None, Progress(1), SilentView(), Stopwatch())
    decisions = breeding.admission.screen([birth_of_named(name) for name in known], 0)
    admitted = [decision for decision in decisions if not isinstance(decision, Refusal)]
    num_known = min(int(KNOWN_SHARE * count), len(admitted))
    indices = random.Random(experiment.seed).sample(range(len(admitted)), num_known)
    sample = [admitted[index] for index in sorted(indices)]
    return [*sample, *breeding.candidates(count - len(sample), 1)]


def proxy_of(full: TrainingSettings, proxy: str, seeds: int) -> TrainingSettings:
    """Return the proxy of this name of a full training, under ``seeds`` seeds."""
    return shortened(full, max(1, full.steps // PROXIES[proxy]), seeds)


def shortened(full: TrainingSettings, steps: int, seeds: int) -> TrainingSettings:
    """Return the training in ``steps`` steps under ``seeds`` seeds, without rungs; settings in steps shrink alike.

    A plateau's epoch has at least one step. With any other schedule an epoch only says when a training is saved, and
    stays. Raises ValueError if a schedule of steps has no room.
    """
    epoch = full.epoch
    if full.schedule == "plateau" and epoch is not None:
        epoch = max(1, epoch * steps // full.steps)  # the rate may fall as often as in the full training
    changed = {
        "steps": steps,
        "seeds": seeds,
        "rungs": (),
        "milestones": tuple(milestone * steps // full.steps for milestone in full.milestones),
        "warm_up": full.warm_up * steps // full.steps,
        "epoch": epoch,
    }
    return TrainingSettings.model_validate(full.model_dump() | changed)
