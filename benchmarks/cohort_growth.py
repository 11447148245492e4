"""Measure how the cost of a cohort grows with its size, the classes, the batch and the formulas; print JSON.

The unit is milliseconds for each candidate and step of the perceptron on one core, as medians of rounds taken in turns.
``--plot FILE`` draws them (needs matplotlib).
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cohort_timing import evolved, made_up_task, together
from lossearch.evaluators.settings import TrainingSettings
from lossearch.primitives.language.formula import Formula

CPU = torch.device("cpu")


def by_size(formulas: Sequence[Formula]) -> dict[int, list[Formula]]:
    """Group formulas by their number of nodes, 32 to a group; the key is the mean of the group."""
    ranked = sorted(formulas, key=lambda formula: formula.size)
    groups = [ranked[start : start + 32] for start in range(0, len(ranked) - 31, 32)]
    return {round(statistics.fmean(formula.size for formula in group)): group for group in groups}


def measure(steps: int, rounds: int) -> dict[str, dict[int, float]]:
    """Vary each axis by itself; the others stay at a cohort of 64, 10 classes and a batch of 64."""
    task, plain = made_up_task(10, (64,)), TrainingSettings(steps=steps, seeds=1)
    cases: dict[str, dict[int, tuple[Sequence[Formula], Any, TrainingSettings]]] = {
        "candidates": {size: (evolved(size), task, plain) for size in (1, 4, 16, 64, 256)},
        "classes": {count: (evolved(64), made_up_task(count, (64,)), plain) for count in (2, 10, 30, 100)},
        "batch_size": {
            size: (evolved(64), task, TrainingSettings(steps=steps, seeds=1, batch_size=size)) for size in (16, 64, 256)
        },
        "nodes_of_a_formula": {size: (group, task, plain) for size, group in by_size(evolved(256)).items()},
    }
    seconds: dict[str, dict[int, list[float]]] = {axis: {value: [] for value in case} for axis, case in cases.items()}
    together(evolved(4), task, TrainingSettings(steps=2, seeds=1), CPU)  # loads data and libraries
    for _ in range(rounds):
        for axis, case in cases.items():
            for value, (formulas, on_task, fidelity) in case.items():
                seconds[axis][value].append(together(formulas, on_task, fidelity, CPU))
    return {
        axis: {value: round(1e3 * statistics.median(times) / steps, 4) for value, times in case.items()}
        for axis, case in seconds.items()
    }


def plot(figures: dict[str, dict[int, float]], path: Path) -> None:
    """Draw the four axes side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(figures), figsize=(11, 2.6), sharey=True, layout="constrained")
    for axis, (name, case) in zip(axes, figures.items(), strict=True):
        axis.plot(list(case), list(case.values()), marker="o", color="#1f5fa8")
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(list(case), [str(value) for value in case], minor=False)
        axis.minorticks_off()
        axis.set_xlabel(name.replace("_", " "))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("ms per candidate-step")
    axes[0].set_yticks(ticks := (0.1, 0.2, 0.4, 0.8), [str(tick) for tick in ticks])
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--plot", type=Path, help="where to draw the figures, as SVG or PNG")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(options.steps, options.rounds)
    if options.plot:
        plot(figures, options.plot)
    print(json.dumps({"device": "cpu", "threads": 1, "ms_per_candidate_step": figures}, indent=2))


if __name__ == "__main__":
    main()
