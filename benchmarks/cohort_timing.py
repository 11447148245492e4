"""Formulas, made-up tasks of any size and timings that the benchmarks of cohorts share."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lossearch.evaluators.cohort.cohort import Cohort
from lossearch.evaluators.data.splits import Split, Splits
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks.task import Task
from lossearch.evaluators.training.one_by_one import OneByOne
from lossearch.evaluators.training.plan import TrainingPlan
from lossearch.primitives.language.formula import Call, Formula, Number, call
from lossearch.primitives.language.parser import parse

FORMULAS = Path(__file__).parent / "evolved_formulas.txt"


def evolved(count: int) -> list[Formula]:
    """Read formulas that a search evolved."""
    return [parse(line) for line in FORMULAS.read_text().splitlines()[:count]]


def settings_of(formulas: Sequence[Formula], settings: int) -> list[Formula]:
    """Make several settings of each formula: scale its numbers, or add a factor if it has none."""
    return [_scaled(formula, 1.0 + k / 20) for formula in formulas for k in range(settings)]


def _scaled(formula: Formula, factor: float) -> Formula:
    if any(isinstance(node, Number) for node in formula.walk()):
        return _with_numbers_scaled(formula, factor)
    return call("mul", Number(factor), formula)


def _with_numbers_scaled(formula: Formula, factor: float) -> Formula:
    if isinstance(formula, Number):
        return Number(formula.value * factor)
    if isinstance(formula, Call):
        return call(formula.operator, *(_with_numbers_scaled(argument, factor) for argument in formula.arguments))
    return formula


def made_up_task(classes: int, shape: tuple[int, ...], samples: int = 2_000) -> Task:
    """Make a task whose inputs lie around a random center for each class."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(classes, *shape, generator=generator)

    def split(count: int) -> Split:
        targets = torch.arange(count) % classes
        return Split(centers[targets] + torch.randn(count, *shape, generator=generator), targets)

    splits = Splits(split(samples), split(500))
    return Task("made_up", "clean", "random", classes, shape, lambda: splits, lambda: splits.validation)


def seconds(device: torch.device, action: Callable[[], object]) -> float:
    """Time an action, including the work that it left on the device."""
    started = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def together(formulas: Sequence[Formula], task: Task, fidelity: TrainingSettings, device: torch.device) -> float:
    """Time one cohort; return seconds for each candidate."""
    cohort = Cohort(TrainingPlan(formulas, None, task, fidelity, range(fidelity.seeds), device))
    return seconds(device, cohort.train_and_score) / len(formulas)


def ratio(
    formulas: Sequence[Formula], task: Task, fidelity: TrainingSettings, sample: int, rounds: int, device: torch.device
) -> dict[str, float]:
    """Divide the time of a candidate alone in eager torch by its time in the cohort, as medians of rounds in turns."""
    ours, theirs = [], []
    for turn in range(rounds):
        ours.append(together(formulas, task, fidelity, device))
        chosen = [formulas[(turn * sample + k) % len(formulas)] for k in range(sample)]
        loop = OneByOne(TrainingPlan(chosen, None, task, fidelity, range(fidelity.seeds), device))
        theirs.append(seconds(device, loop.train_and_score) / sample)
    in_cohort, alone = statistics.median(ours), statistics.median(theirs)
    trainings = fidelity.seeds * fidelity.steps
    return {
        "ratio": round(alone / in_cohort, 2),
        "ms_per_candidate_step": round(1e3 * in_cohort / trainings, 4),
        "ms_per_candidate_step_alone": round(1e3 * alone / trainings, 4),
        "candidates_per_minute": round(60.0 / in_cohort),
    }
