"""Copy runs of ``lossearch fidelity`` to experiments/fidelity: values and table of all their tasks.

A task that is there already is replaced. ``python -m benchmarks.miniature`` then writes them into the page.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from lossearch.evaluators.tasks import TASKS
from lossearch.results.findings.proxies import VALUES_FILE as FILE
from lossearch.results.findings.proxies import (
    ProxyLine,
    ProxyValue,
    as_markdown,
    proxy_lines,
    read_lines,
    read_values,
    write_lines,
    write_values,
)

KEPT = Path(__file__).parent.parent / "experiments" / "fidelity"

SECTION = """## Proxies

A search trains candidates briefly. Whether that ranks them as a full training does was measured by `lossearch
fidelity`, on the validation split: known losses that suit a task, and random formulas that a search admits at its
beginning, none chosen by hand. Full trainings are those of a comparison; each proxy has its share of their steps on a
schedule of its own, under other seeds. Cost is in steps under all seeds, as a share of the full training under all of
its own. tau is Kendall's tau-b with the full training, its interval a 95 % bootstrap over candidates; the noise ceiling
is the full training with itself under other seeds: what as much training can be expected to reach, though a proxy with
more seeds, or luck, may be above it. A candidate that fails ranks last.

**A search trains by the cheapest proxy with a tau of 0.6 or more where its file says nothing of the training**, and
fully where there is none, or where the task does not stand here. Read the better half beside it: a sample with bad
losses flatters tau, and many a cheap proxy that tells good losses from bad ones cannot rank the good ones among
themselves. So a search by a cheap proxy finds a region, and its leaderboard is no ranking; declare more `steps` and
`seeds`, or retests, where the best of many good losses is wanted. What a search breeds later on is more alike than this
sample, and harder to rank. The cheapest is the first of several estimates that reaches 0.6, and may be so by luck, most
where 24 candidates were ranked: look at its interval and at the same steps under two seeds, which for
`digits_few_labels` and `shapes_segmentation` are below 0.6 again.

Values and table are in [fidelity/](fidelity) as Parquet.
"""


def keep(runs: Sequence[Path]) -> None:
    """Copy the values of runs, and write the table that follows from all."""
    found = read_values(KEPT) if (KEPT / FILE).exists() else []
    for run in runs:
        new = read_values(run)
        tasks = {each.task for each in new}
        found = [*(each for each in found if each.task not in tasks), *new]
    found.sort(key=_order)  # the sort is stable: the order within a task stays
    KEPT.mkdir(exist_ok=True)
    write_values(KEPT, found)
    write_lines(KEPT, proxy_lines(found))


def _order(value: ProxyValue) -> int:
    return list(TASKS).index(value.task)


def kept_lines() -> list[ProxyLine]:
    """Read the table that is kept."""
    return read_lines(KEPT)


def section() -> str:
    """Write the section of the page."""
    return f"{SECTION}\n{as_markdown(kept_lines())}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="directories of runs to take in")
    parser.add_argument("--json", action="store_true", help="print JSON, as without it")
    runs = parser.parse_args().runs
    keep(runs)
    lines = kept_lines()
    cheapest = {line.task: f"{line.proxy} x {line.seeds}, tau {line.tau:.2f}" for line in lines if line.cheapest}
    print(json.dumps({"fidelity": {"tasks": len({line.task for line in lines}), "cheapest": cheapest}}))


if __name__ == "__main__":
    main()
