"""Time ``lossearch --help`` from a cold process, as the median of several runs."""

import argparse
import json
import statistics
import subprocess
import sys
import time


def measure(runs: int) -> dict[str, float | int]:
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lossearch", "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return {"runs": runs, "median_s": round(statistics.median(seconds[1:]), 3), "worst_s": round(max(seconds[1:]), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    print(json.dumps({"help": measure(parser.parse_args().runs)}))


if __name__ == "__main__":
    main()
