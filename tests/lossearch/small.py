"""A small search that takes seconds, and helpers to stop it and to read its records."""

import atexit
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from lossearch.callbacks import Run
from lossearch.engine.launch import search
from lossearch.evaluators.executors.executor import InlineExecutor
from lossearch.evaluators.settings import TrainingSettings
from lossearch.results.leaderboard import Leaderboard
from lossearch.runs import session as workers
from lossearch.runs.declaration import ExecutorSettings
from lossearch.runs.experiment import EvolutionSettings, Experiment

SMALL = Experiment(
    name="small",
    task="digits",
    seed=3,
    fidelity=TrainingSettings(steps=12, seeds=2),
    evolution=EvolutionSettings(
        population=6,
        generations=4,
        seeds=("cross_entropy", "mse", "ngl", "am_softmax"),
        terminals=("p", "y", "z", "cosine"),
    ),
    executor=ExecutorSettings(kind="inline", cohort_size=2),
)

TOML = """
name = "small"
task = "digits"
seed = 3
[fidelity]
steps = 12
[evolution]
population = 6
generations = 4
seeds = ["cross_entropy", "mse", "ngl", "am_softmax"]
terminals = ["p", "y", "z", "cosine"]
[executor]
kind = "inline"
cohort_size = 2
"""


class Interrupting(InlineExecutor):
    """An inline executor that is interrupted at the given submission."""

    def __init__(self, at):
        super().__init__()
        self._submissions_left = at

    def submit(self, work, states=()):
        self._submissions_left -= 1
        if self._submissions_left < 0:
            raise KeyboardInterrupt
        return super().submit(work, states)


@contextmanager
def stopped_at(monkeypatch, submissions, interruption):
    """Interrupt the run in the block at the given submission, and expect this error."""
    with monkeypatch.context() as patched:
        patched.setattr(workers, "InlineExecutor", lambda device: Interrupting(submissions))
        with pytest.raises(interruption):
            yield


def run_search(path, **options):
    return search(SMALL, run_dir=path, **options)


@cache
def _searched_once():
    """Run the search by SMALL in a folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="lossearch-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return run_search(Path(folder) / "run")


def finished_run(path):
    """Copy a finished search by SMALL to `path`. All tests of a process share the search itself."""
    run = _searched_once()
    shutil.copytree(run.path, path, dirs_exist_ok=True)
    return Run(path, Leaderboard(path), path / run.exported.name, run.trial)


def records(path):
    """Read the evaluations of a run without their times, in birth order."""
    evaluations = Leaderboard(path).evaluations
    timeless = [replace(evaluation, seconds=None, finished_at=None) for evaluation in evaluations]
    return sorted(
        timeless, key=lambda evaluation: (evaluation.birth_number, -1 if evaluation.seed is None else evaluation.seed)
    )


class Warned:
    """A view that keeps the warnings."""

    def __init__(self):
        self.warnings = []

    def started(self, run, slots): ...

    def moved(self, progress): ...

    def generation_ended(self, progress): ...

    def warned(self, message):
        self.warnings.append(message)
