"""Time how long a leaderboard of a million evaluations takes to open and to show its best twenty; print JSON.

The run is made up, with formulas, parts and proportions like those of a long search. Every figure is the median of
fresh processes, including imports. Beside it is what a user would write with polars, DuckDB or pandas for the mean
fitness of every loss. That does less: it checks no record, counts repeated records twice and ranks failed losses.
"""

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lossearch.results.records import Evaluation, digest, loss_id
from lossearch.results.storage.store import EvaluationStore

FOLDER = Path(__file__).parent
SECONDS, FIDELITY = 0.37, "mlp64-600x128-lr0.05-m0.9"

OURS = """
from lossearch import Leaderboard
found = [entry.row.formula for entry in Leaderboard({run!r})[:20]]
"""
POLARS = """
import polars
trained = polars.scan_parquet({run!r} + "/evaluations/*.parquet").filter(polars.col("fitness").is_not_null())
mean = trained.group_by("loss_id").agg(polars.col("fitness").mean(), polars.col("formula").first())
found = mean.sort("fitness", descending=True).head(20).collect()["formula"].to_list()
"""
DUCKDB = """
import duckdb
query = "select any_value(formula) from '{{}}' where fitness is not null group by loss_id order by avg(fitness) desc"
found = [row[0] for row in duckdb.sql(query.format({run!r} + "/evaluations/*.parquet") + " limit 20").fetchall()]
"""
PANDAS = """
import pandas
table = pandas.read_parquet({run!r} + "/evaluations", columns=["loss_id", "fitness", "formula"])
mean = table.dropna().groupby("loss_id").agg({{"fitness": "mean", "formula": "first"}})
found = mean.sort_values("fitness", ascending=False).head(20)["formula"].tolist()
"""
COMMAND = """
import sys
from lossearch.cli.app import main
sys.argv = ["lossearch", "leaderboard", {run!r}, "--top", "20"]
found = []
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
WAYS = {"lossearch": OURS, "lossearch_command": COMMAND, "polars": POLARS, "duckdb": DUCKDB, "pandas": PANDAS}

#: Printed by each process at its end: its peak memory in KiB, as Linux counts it from its start.
EPILOGUE = """
import re
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


def made_up(count: int) -> Iterator[Evaluation]:
    """Yield evaluations in the order of their birth: of known losses, then of candidates."""
    chance, number, lines = random.Random(0), 0, _lines()
    losses = [*_trained("cross_entropy", "ce(z)", 1, chance), *_trained("mse", "sum_c(square(p - y))", 2, chance)]
    yield from losses
    number = len(losses)
    earlier: list[Evaluation] = [losses[0]]
    while number < count:
        kind = chance.random()
        if kind < 0.25:
            same = chance.choice(earlier)
            yield _refused(same.formula, "duplicate", f"trains like {same.loss_id}", number, chance)
            number += 1
        elif kind < 0.62:
            yield _refused(_formula(lines, chance), "rejected", "flat: no slope at any of 64 points", number, chance)
            number += 1
        else:
            born = _trained(None, _formula(lines, chance), number, chance)
            earlier.append(born[0])
            yield from born
            number += len(born)


def _lines() -> list[str]:
    return [line for name in ("first_generation", "evolved_formulas") for line in _text(name).splitlines()]


def _text(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text()


def _formula(lines: list[str], chance: random.Random) -> str:
    """Return one of two formulas that a search made, with other numbers in it."""
    text = f"{chance.choice(lines)} + {chance.uniform(0.1, 3.0):.10g}*({chance.choice(lines)})"
    return re.sub(r"\d+\.\d+", lambda match: f"{float(match[0]) * chance.uniform(0.5, 2.0):.10g}", text)


def _facts(formula: str, number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "loss_id": loss_id(formula),
        "formula": formula,
        "complexity": formula.count("(") + 3,
        "task": "digits",
        "fidelity": FIDELITY,
        "generation": number // 500,
        "birth": chance.choice(("crossover", "subtree", "point", "constant")),
        "birth_number": number,
        "parents": (digest(number // 3)[:10], digest(number // 5)[:10]),
    }


def _trained(name: str | None, formula: str, number: int, chance: random.Random) -> list[Evaluation]:
    """Yield a loss under two seeds; one in forty diverges."""
    facts, level = _facts(formula, number, chance) | {"name": name}, min(chance.gauss(0.8, 0.1), 0.97)
    diverges = name is None and chance.random() < 0.025
    outcome: dict[str, Any] = {"status": "failed", "reason": f"diverged at step {chance.randrange(600)}"}
    evaluations = []
    for seed in (0, 1):
        right = min(max(round(360 * chance.gauss(level, 0.01)), 0), 360)
        outcome = outcome if diverges else {"status": "evaluated", "fitness": right / 360, "metric": "accuracy"}
        training: dict[str, Any] = {"seed": seed, "steps": 600, "full_steps": 600}
        training |= {"calibration": chance.uniform(0.1, 9.0), "seconds": SECONDS * chance.uniform(0.9, 1.1)}
        evaluations.append(Evaluation(digest(number, seed), **facts, **training, finished_at=_time(number), **outcome))
    return evaluations


def _refused(formula: str, status: Any, reason: str, number: int, chance: random.Random) -> Evaluation:
    return Evaluation(digest(number), **_facts(formula, number, chance), status=status, reason=reason)


def _time(number: int) -> str:
    hour, second = divmod(int(number * SECONDS), 3600)
    day, hour = divmod(hour, 24)
    return f"2026-01-{1 + day % 28:02d}T{hour:02d}:{second // 60:02d}:{second % 60:02d}.{number % 1000:03d}000+00:00"


def write(run: Path, count: int, parts: int) -> None:
    """Write a run's directory with a number of evaluations in a number of parts."""
    store, records = EvaluationStore(run / "evaluations"), made_up(count)
    while part := list(islice(records, -(-count // parts))):
        store.append(part)


def measure(run: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Measure seconds and memory of each way, in turns, after a round that loads the files into memory."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    memory: dict[str, float] = {}
    for _ in range(rounds + 1):
        for way, program in WAYS.items():
            code = program.format(run=str(run)) + EPILOGUE
            started = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            seconds[way].append(time.perf_counter() - started)
            memory[way] = int(done.stdout.split()[-1]) / 1024
    return {
        way: {"median_s": round(statistics.median(durations[1:]), 2), "peak_mib": round(memory[way])}
        for way, durations in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    parser.add_argument("--evaluations", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", type=Path, help="keep the run here, and use it if it is there [default: not kept]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or Path(folder)
        if not (run / "evaluations").is_dir():
            write(run, options.evaluations, options.parts)
        figures = measure(run, options.rounds)
    print(
        json.dumps({"leaderboard": {"evaluations": options.evaluations, "parts": options.parts, **figures}}, indent=2)
    )


if __name__ == "__main__":
    main()
