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

A search trains candidates briefly. Do short trainings rank losses like full ones? `lossearch fidelity` measured it on
the validation split:

1. The candidates are known losses that suit the task and the first random formulas that a search admits. None was
   chosen by hand.
2. Full trainings are those of a comparison. Each proxy has a share of their steps, a schedule of its own and other
   seeds.
3. Cost is in steps over all seeds, as a share of the full training over all of its seeds.
4. tau is Kendall's tau-b with the full training; its interval is a 95 % bootstrap over candidates. A candidate that
   fails ranks last.
5. The noise ceiling is the tau of the full training with itself under other seeds. A proxy with more seeds, or with
   luck, may exceed it.

**The rule.** A search whose file does not set its training uses the cheapest proxy with a tau of 0.6 or more. It
trains in full if there is no such proxy or the task is not in these tables.

**How to read the tables.**

- Look at the better half. A sample with bad losses makes tau look better than it is. Many cheap proxies tell good
  losses from bad ones but cannot rank the good ones.
- So a search with a cheap proxy finds a region, and its leaderboard is not a ranking. Declare more `steps` and
  `seeds`, or retests, to find the best of many good losses.
- What a search breeds later is more alike than this sample, and harder to rank.
- The cheapest proxy is the first of several estimates that reaches 0.6, perhaps by luck, most of all if only 24
  candidates were ranked. Look at its interval, and at the same steps under two seeds: for `digits_few_labels` and
  `shapes_segmentation` these are below 0.6 again.

Values and tables are in [fidelity/](fidelity) as Parquet.
"""


def keep(runs: Sequence[Path]) -> None:
    """Copy the values of runs, and write the table of all kept values."""
    values = read_values(KEPT) if (KEPT / FILE).exists() else []
    for run in runs:
        new = read_values(run)
        tasks = {value.task for value in new}
        values = [*(value for value in values if value.task not in tasks), *new]
    values.sort(key=_order)  # the sort is stable: the order within a task stays
    KEPT.mkdir(exist_ok=True)
    write_values(KEPT, values)
    write_lines(KEPT, proxy_lines(values))


def _order(value: ProxyValue) -> int:
    return list(TASKS).index(value.task)


def kept_lines() -> list[ProxyLine]:
    """Read the kept table."""
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
