"""Measure the size of a long run's report, and the time to write it and to open it in Chromium; print JSON.

With ``--picture RUN FILE`` it takes a picture of a run's report instead, as README shows it.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver

from lossearch.results.records import Evaluation, digest, loss_id
from lossearch.results.report.page import write_report
from lossearch.results.storage.store import EvaluationStore

#: True once every plot is drawn that is not in a closed fold.
DRAWN = (
    "return [...document.querySelectorAll('.plot')].every("
    "each => each.closest('details:not([open])') || each.querySelector('.main-svg'))"
)


def long_run(folder: Path, candidates: int) -> None:
    """Write the evaluations of a run with many made-up candidates."""
    formulas = ["ce(z)", *(f"ce({1 + number / 1000}*z) + 0.1*mean_c(p**2)" for number in range(1, candidates))]
    EvaluationStore(folder / "evaluations").append(
        [
            Evaluation(
                evaluation_id=digest(formula),
                loss_id=loss_id(formula),
                formula=formula,
                complexity=2 + number % 30,
                task="digits",
                fidelity="mlp64-200x64-lr0.1-m0.9",
                status="evaluated",
                generation=number // 500,
                birth="crossover",
                birth_number=number + 1,
                name="cross_entropy" if formula == "ce(z)" else None,
                seed=0,
                fitness=0.5 + (number * 7919 % 4000) / 10_000,
                calibration=1.0,
            )
            for number, formula in enumerate(formulas)
        ]
    )


@contextmanager
def chromium(width: int, height: int) -> Iterator[Any]:
    """Start a browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def opened(driver: Any, page: Path) -> float:
    """Time the loading of a report until all of its plots are drawn."""
    started = time.perf_counter()
    driver.get(page.resolve().as_uri())
    while not driver.execute_script(DRAWN):
        time.sleep(0.02)
    return time.perf_counter() - started


def measure(candidates: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long_run(folder, candidates)
        started = time.perf_counter()
        page = write_report(folder)
        written = time.perf_counter() - started
        with chromium(1200, 900) as driver:
            seconds = [opened(driver, page) for _ in range(rounds)]
        return {
            "candidates": candidates,
            "megabytes": round(page.stat().st_size / 1e6, 2),
            "seconds_to_write": round(written, 2),
            "seconds_to_open": round(statistics.median(seconds), 2),
        }


def take_picture(run: Path, file: Path) -> None:
    """Take a picture of the top of a run's report."""
    with tempfile.TemporaryDirectory() as name, chromium(1100, 1250) as driver:
        opened(driver, write_report(run, Path(name) / "report.html"))
        driver.save_screenshot(str(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", nargs=2, type=Path, metavar=("RUN", "FILE"))
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    chosen = parser.parse_args()
    if chosen.picture:
        take_picture(*chosen.picture)
        return
    print(json.dumps({"report": measure(chosen.candidates, chosen.rounds)}))


if __name__ == "__main__":
    main()
