"""Time search, tune and compare for one family of tasks, as a user types them; print JSON.

It also reports how many candidates the search trained in a second and where its time went. The commands are those of
docs/evidence.md. A run that exists is not searched again.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lossearch.results.findings.verdict_table import read_verdicts


def seconds_of(*command: str) -> float:
    """Time a command of lossearch, including the start of its process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "lossearch", *command], check=True, stdout=sys.stderr)
    return round(time.perf_counter() - started, 1)


def searched(run: Path) -> dict[str, Any]:
    """Return the candidates that a search trained in a second of its generations, and the share of each activity."""
    lines = map(json.loads, (run / "log.jsonl").read_text(encoding="utf-8").splitlines())
    generations = [line for line in lines if line["event"] == "generation"]
    spent, trained = generations[-1]["seconds"], generations[-1]["evaluated"]  # counted from the start of the search
    total = sum(spent.values())
    return {
        "trained": trained,
        "candidates_per_second": round(trained / total, 1),
        "share_of_time": {name: round(seconds / total, 3) for name, seconds in spent.items()},
    }


def demonstrate(family: str, run: Path, executor: str, options: Mapping[str, int]) -> dict[str, Any]:
    durations: dict[str, float] = {}
    if not (run / "leaderboard.parquet").exists():
        durations["search"] = seconds_of("search", family, "--run-dir", str(run), "--executor", executor)
    tune = [text for name in ("top", "trials", "seeds") for text in (f"--{name}", str(options[f"tune_{name}"]))]
    durations["tune"] = seconds_of("tune", str(run), "--executor", executor, *tune)
    durations["compare"] = seconds_of("compare", str(run), "--executor", executor, "--seeds", str(options["seeds"]))
    judged = read_verdicts(run / "verdict")
    assert judged is not None
    return {
        "family": family,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "executor": executor,
        **options,
        "minutes": round(sum(durations.values()) / 60, 1),
        "seconds": durations,
        "search": searched(run),
        "random_search": searched(run / "random_search"),
        "verdicts": [f"{line.scene}: {line.verdict}" for line in judged.lines],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", help="a shipped experiment, or a TOML file")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray")
    parser.add_argument("--tune-top", type=int, default=8)
    parser.add_argument("--tune-trials", type=int, default=10)
    parser.add_argument("--tune-seeds", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=10)
    options = vars(parser.parse_args())
    family, run, executor = (options.pop(name) for name in ("family", "run_dir", "executor"))
    print(json.dumps({"demonstration": demonstrate(family, run, executor, options)}))


if __name__ == "__main__":
    main()
