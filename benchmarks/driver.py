"""Measure what a search's driver costs for each evaluation, with a stub in place of the trainings.

It runs a long search of one population and then resumes it. It prints milliseconds for each evaluation by activity,
memory along the way, and the seconds to resume. An evaluation is a record of a training under one seed, or of a birth
that was refused.
"""

import argparse
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.stub import StubExecutor
from lossearch.engine.generational import GenerationalSearch
from lossearch.engine.search_loop import Search
from lossearch.engine.steady import SteadySearch
from lossearch.runs.directory import RunDirectory
from lossearch.runs.experiment import Experiment, load_experiment, validated
from lossearch.runs.progress import Progress
from lossearch.runs.views import SilentView


class Watching(SilentView):
    """Note the memory of the process at the end of each generation."""

    def __init__(self) -> None:
        self.memory: list[int] = []

    def generation_ended(self, progress: Progress) -> None:
        self.memory.append(resident_mib())


def resident_mib() -> int:
    """Return the memory of this process now, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) // 1024


def experiment(mode: str, population: int, generations: int) -> Experiment:
    """Make the digits experiment with another mode, population and number of generations."""
    declared = load_experiment("digits").model_dump()
    declared["evolution"] |= {"population": population, "generations": generations, "mode": mode}
    return validated(declared, "benchmark")


def search_of(declared: Experiment, run: RunDirectory, workers: int, view: SilentView, seconds: float = 0.0) -> Search:
    """Make a search whose trainings are stubs."""
    kind = SteadySearch if declared.evolution.mode == "steady" else GenerationalSearch
    return kind(declared, run, StubExecutor(workers, seconds), view)


def measure(mode: str, population: int, wanted: int, folder: Path) -> dict[str, Any]:
    """Search until the number of evaluations is reached, then resume."""
    declared = experiment(mode, population, 1_000_000)
    run, view = RunDirectory.create(declared, folder / "run"), Watching()
    search = search_of(declared, run, 8, view)
    started, before = time.perf_counter(), resident_mib()
    counts: list[int] = []

    def ended(progress: Progress) -> None:
        Watching.generation_ended(view, progress)
        counts.append(len(search.recorder.recorded))
        if counts[-1] >= wanted:
            raise KeyboardInterrupt

    view.generation_ended = ended  # type: ignore[method-assign]
    with suppress(KeyboardInterrupt):
        search.execute()
    seconds, count = time.perf_counter() - started, len(search.recorder.recorded)
    run.close()
    again = RunDirectory.open(run.path, declared)
    resumed = search_of(declared, again, 8, SilentView())
    started = time.perf_counter()
    resumed.restore()
    resuming = time.perf_counter() - started
    again.close()
    trained = search.progress.evaluated
    at = [next(place for place, number in enumerate(counts) if number >= share * count) for share in (0.1, 0.5, 1.0)]
    return {
        "mode": mode,
        "evaluations": count,
        "candidates_trained": trained,
        "births": search.breeding.admission.births,
        "ms_per_evaluation": round(1e3 * seconds / count, 2),
        "ms_per_candidate": round(1e3 * seconds / trained, 2),
        "candidates_a_second": round(trained / seconds, 1),
        "ms_per_evaluation_by_what": {k: round(1e3 * v / count, 3) for k, v in search.watch.seconds.items()},
        "memory_mib": {"before": before, **{f"at_{counts[place]}": view.memory[place] for place in at}},
        "seconds_to_resume": round(resuming, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("generational", "steady"), default="generational")
    parser.add_argument("--population", type=int, default=1_000)
    parser.add_argument("--evaluations", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(chosen.mode, chosen.population, chosen.evaluations, Path(folder))
    print(json.dumps({"driver": measured}))


if __name__ == "__main__":
    main()
