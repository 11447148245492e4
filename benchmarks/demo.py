"""Time the demo, and count the distinct candidates that it trains."""

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
        rows = Leaderboard(run).rows
    trained = sum(row.status == "evaluated" for row in rows)
    return {
        "seconds": round(seconds, 1),
        "distinct_candidates_trained": trained,
        "candidates_per_second": round(trained / seconds, 2),
        "failed": sum(row.status == "failed" for row in rows),
        "rejected": sum(row.status == "rejected" for row in rows),
        "duplicates": sum(row.duplicates for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray")
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args().executor
    print(json.dumps({"demo": {"executor": chosen, **measure(chosen)}}))


if __name__ == "__main__":
    main()
