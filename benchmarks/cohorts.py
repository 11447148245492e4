"""Measure how much faster candidates train together than one at a time in eager torch; print JSON.

On a CPU it uses one core; a GPU is used if there is one. One at a time means a sample of the same candidates, by
autograd and torch's own optimiser. Both are measured in turns in one run. It imports nothing beyond torch, sympy,
pydantic and scikit-learn.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.cohort_timing import evolved, made_up_task, ratio, settings_of, together
from lossearch.evaluators.device import choose_device
from lossearch.evaluators.settings import TrainingSettings
from lossearch.evaluators.tasks import known_task
from lossearch.primitives.batched.joint_gradient import JointGradient
from lossearch.primitives.language.formula import Formula


def compile_milliseconds(formulas: Sequence[Formula], device: torch.device, rounds: int) -> float:
    """Time the compilation of a cohort's program, in milliseconds for each candidate."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        JointGradient(formulas, 10, device)
        times.append(time.perf_counter() - started)
    return round(1e3 * statistics.median(times) / len(formulas), 3)


def on_a_core(steps: int, rounds: int) -> dict[str, Any]:
    """Measure the figures of one core, on digits."""
    task, device = known_task("digits"), torch.device("cpu")
    one_seed, eight_seeds = TrainingSettings(steps=steps, seeds=1), TrainingSettings(steps=steps, seeds=8)
    small_cnn, residual = (TrainingSettings(steps=steps, seeds=1, network=name) for name in ("cnn", "resnet"))
    figures: dict[str, Any] = {}
    for name, formulas, fidelity, sample in (
        ("mlp_cohort_of_64", evolved(64), one_seed, 16),
        ("mlp_cohort_of_16", evolved(16), one_seed, 16),
        ("mlp_cohort_of_256", evolved(256), one_seed, 16),
        ("cnn_cohort_of_64", evolved(64), small_cnn, 8),
        ("resnet_cohort_of_64", evolved(64), residual, 8),
        ("mlp_8_formulas_x_8_seeds", evolved(8), eight_seeds, 2),
        ("mlp_8_formulas_x_8_settings", settings_of(evolved(8), 8), one_seed, 16),
    ):
        measured = ratio(formulas, task, fidelity, sample, rounds, device)
        figures |= {f"{name}_to_one_at_a_time_{what}": value for what, value in measured.items()}
    return figures


def on_a_gpu(rounds: int, device: torch.device) -> dict[str, Any]:
    """Measure the figures of one GPU: 200 steps, a cohort of 256."""
    formulas, images = evolved(256), made_up_task(10, (3, 32, 32))
    cnn = ratio(formulas, images, TrainingSettings(steps=200, seeds=1, network="cnn"), 2, rounds, device)
    mlp = ratio(formulas, known_task("digits"), TrainingSettings(steps=200, seeds=1), 4, rounds, device)
    return {f"cnn_32x32x3_cohort_of_256_to_one_at_a_time_{what}": value for what, value in cnn.items()} | {
        f"mlp_cohort_of_256_to_one_at_a_time_{what}": value for what, value in mlp.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="steps of a training on a CPU")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    figures: dict[str, Any] = {"device": name, "threads": 1, "torch": torch.__version__}
    figures["first_compile_ms_per_candidate"] = compile_milliseconds(evolved(256)[128:], device, 1)
    figures["compile_ms_per_candidate"] = compile_milliseconds(evolved(64), device, options.rounds)
    together(evolved(2), known_task("digits"), TrainingSettings(steps=5, seeds=1), device)  # loads data and libraries
    measured = on_a_gpu(options.rounds, device) if device.type == "cuda" else on_a_core(options.steps, options.rounds)
    print(json.dumps(figures | measured, indent=2))


if __name__ == "__main__":
    main()
