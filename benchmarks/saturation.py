"""Measure where one driver saturates: thousands of simulated workers, and a real driver.

For each number of workers and each length of a training it prints the share of the workers' time in which they were
busy, and candidates a second, both after the first population. The driver's work takes real time; trainings pass on a
clock that jumps (see benchmarks/stub.py).
"""

import argparse
import json
import math
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.driver import experiment
from benchmarks.stub import StubExecutor
from lossearch.engine.generational import GenerationalSearch
from lossearch.engine.steady import SteadySearch
from lossearch.runs.directory import RunDirectory
from lossearch.runs.progress import Progress
from lossearch.runs.views import SilentView

POPULATION = 1_000


class Stopping(SilentView):
    """Note the end of the first population, and end a search when the driver has worked for its time since."""

    def __init__(self, seconds: float, executor: StubExecutor) -> None:
        self._seconds, self._executor = seconds, executor
        self._end = math.inf
        self.before = 0, 0.0  #: candidates and clock at the end of the first population

    def generation_ended(self, progress: Progress) -> None:
        if self._end == math.inf:
            self.before = progress.finished, self._executor.now
            self._end = time.perf_counter() + self._seconds

    def moved(self, progress: Progress) -> None:
        if time.perf_counter() > self._end:
            raise KeyboardInterrupt


def measure(
    mode: str, workers: int, seconds: float, cohort: int, driver_seconds: float, folder: Path
) -> dict[str, Any]:
    """Search until the driver has worked for its time, with a number of workers and seconds for each candidate."""
    declared = experiment(mode, POPULATION, 1_000_000)
    declared = declared.model_copy(update={"executor": declared.executor.model_copy(update={"cohort_size": cohort})})
    run, executor = RunDirectory.create(declared, folder), StubExecutor(workers, seconds)
    kind = SteadySearch if mode == "steady" else GenerationalSearch
    view = Stopping(driver_seconds, executor)
    search = kind(declared, run, executor, view)
    with suppress(KeyboardInterrupt):
        search.execute()
    run.close()
    before, started = view.before
    done, passed = search.progress.finished - before, max(executor.now - started, 1e-9)
    return {
        "mode": mode,
        "workers": workers,
        "seconds_for_a_candidate": seconds,
        "cohort_size": cohort,
        "candidates": done,
        "candidates_a_second": round(done / passed, 1),
        "share_of_busy_workers": round(min(1.0, done * seconds / (workers * passed)), 2),
        "first_population_in_seconds": round(started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[100, 1_000, 4_000])
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 10.0, 100.0], help="for a candidate")
    parser.add_argument("--driver-seconds", type=float, default=20.0, help="seconds that the driver works in each case")
    parser.add_argument("--mode", choices=("generational", "steady"), default="steady")
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args()
    figures = []
    for workers in chosen.workers:
        for seconds in chosen.seconds:
            with tempfile.TemporaryDirectory() as folder:
                case = measure(chosen.mode, workers, seconds, 1, chosen.driver_seconds, Path(folder) / "run")
            figures.append(case)
    print(json.dumps({"saturation": figures}))


if __name__ == "__main__":
    main()
