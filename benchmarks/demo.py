"""Time the demo, and count the candidates that it trains."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lossearch import Leaderboard


def measure(executor: str) -> dict[str, float | int]:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "lossearch", "search", "digits"]
        started = time.perf_counter()
        subprocess.run([*command, "--run-dir", str(run), "--executor", executor], check=True, capture_output=True)
        seconds = time.perf_counter() - started
        counts = Leaderboard(run).candidate_counts()
    return {
        "seconds": round(seconds, 1),
        "candidates_per_second": round(counts.trained / seconds, 2),
        **counts.named(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray")
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args().executor
    print(json.dumps({"demo": {"executor": chosen, **measure(chosen)}}))


if __name__ == "__main__":
    main()
