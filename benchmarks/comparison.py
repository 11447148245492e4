"""Time a comparison: ten losses beside cross-entropy, ten seeds each, on digits."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOSSES = (
    *("mse", "focal", "ngl", "symmetric_cross_entropy", "generalized_cross_entropy", "label_smoothing", "poly1"),
    *("am_softmax", "arcface_monotone", "pedcc"),
)


def measure(executor: str, seeds: int) -> dict[str, float | int]:
    with tempfile.TemporaryDirectory() as folder:
        words = ["compare", "--task", "digits", "--losses", ",".join(LOSSES), "--seeds", str(seeds), "--json"]
        words += ["--executor", executor, "--run-dir", str(Path(folder) / "run")]
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "lossearch", *words], check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    lines = json.loads(done.stdout)
    return {
        "seconds": round(seconds, 1),
        "trainings": sum(line["seeds"] for line in lines),
        "seconds_of_training_alone": round(sum(line["seconds"] for line in lines), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args()
    measured = measure(chosen.executor, chosen.seeds)
    print(json.dumps({"comparison": {"executor": chosen.executor, "losses": len(LOSSES) + 1, **measured}}))


if __name__ == "__main__":
    main()
