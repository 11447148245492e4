"""Write docs/ablations.md: what each part of the search adds and what its filters save.

benchmarks/ablation.py and benchmarks/filters.py measure this; ablation.jsonl, ablation_1200.jsonl,
ablation_1200_by_100.jsonl and filters.json keep their figures.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ablation import summary
from lossearch.results.statistics.intervals import interval_text

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "ablations.md"

HEAD = """# What each part of the search adds, and what its filters save

## Parts of the search

**No optional part could be shown to help the plain search at these budgets:** every interval reaches below zero.
Leaving out crossover, or selecting by lexicase, makes it worse.

How it was measured (`benchmarks/ablation.py`):

1. Searches with each part and without it, under ten seeds, on two tasks (wrong labels, a long tail), with the same
   number of trainings.
2. A search is worth what its best loss reaches under six fresh seeds on the validation split, minus what cross-entropy
   reaches under them.
3. Differences to the plain search are paired by task and seed. The 95 % intervals are Student's t over the 20 pairs.

The plain search varies by crossover and by mutation of subtrees, nodes and numbers. It selects by the Pareto front of
fitness and size.

- **Off by default:** all other kinds of variation, retests and islands. An experiment may give them a weight.
- **Removed from the code:** epsilon-lexicase over seeds (not measured over several tasks), age as a third objective,
  restarts, niches by the direction of the gradient, and numbers proposed by Optuna's TPESampler in place of most
  mutations of a number. They added nothing here.
- **Used for the five families, though no figure here demands it:** retests, because with wrong labels the best of a
  plain search is worth less at 1,200 candidates than at 320: it was lucky. And all kinds of variation (`all`),
  because crossover alone had not joined terms that are better together on the long tail.
- **Islands** added nothing either. They stay for steady searches on many workers
  ([clusters](clusters.md#steady-searches-and-islands)).

These runs are older than the rule that skips random trees without predictions or target.
"""

#: Titles of the ablation's tables, and their files.
TABLES = (
    ("320 candidates", "ablation.jsonl"),
    ("1,200 candidates", "ablation_1200.jsonl"),
    ("1,200 candidates in generations of 100", "ablation_1200_by_100.jsonl"),
)

FILTERS = """
## Filters

The filters are the duplicate test, the checks of the screening, and rungs. The table shows what each refused, and
whether it refused losses that were good after all (`benchmarks/filters.py`):

1. The search is that of `experiments/digits.toml`, on two tasks; for rungs, one with rungs at an eighth and half of the
   steps.
2. A random sample of the refused was trained in full by the search's own protocol.
3. A refused loss counts as "wrongly" if it reaches the worst of the top tenth of the losses that the search trained
   to the end. A duplicate counts only if its original does not reach it.
4. The intervals are exact binomial 95 % intervals.

This was measured when the fingerprint's probe had 8 samples. Today it has 12 and also sees terms that act on right
predictions alone; losses that differed only in such terms could be taken for duplicates.
"""

GOOD_ONES = """
How many good losses does a search lose? A good loss reaches the bar of rule 3. The number lost is an estimate, as if
each filter had lost the same share of all it refused as of its sample. The interval of the lost is propagated from
the binomial ones (Zou and Donner, Statistics in Medicine 27, 2008); the bar and the number kept are taken as exact.
The number kept was not recorded: it is at least the size of the top tenth, so the share lost is an upper bound. In a
search with rungs, the top tenth is that of the candidates that passed all rungs.
"""

RUNGS = """
**Screening and the duplicate test lose few good losses**, as far as the samples show: one of 860 rejected candidates
was good, and none of 400 duplicates was lost. Up to a fifth or a quarter of the good ones may still have been lost.

**Rungs lose many, most of all with wrong labels, where two seeds say little.** On `digits_noisy` the 12 % of
candidates that rungs let through held at least 13 % of the good ones, hardly more than chance. On `digits` they
held at least 57 %. With two seeds some reach the bar by luck alone, and nothing is lost with those. In return, rungs
here save 69 % of the training steps, so that three candidates are trained in place of one.
"""


def page() -> str:
    """Write the page from the measured figures."""
    parts = [HEAD]
    for title, file in TABLES:
        searches_of_file = [json.loads(line) for line in (HERE / file).read_text(encoding="utf-8").splitlines()]
        parts += [f"### {title}", "", *_cases(summary(searches_of_file)), ""]
    searches = json.loads((HERE / "filters.json").read_text(encoding="utf-8"))["filters"]
    parts += [FILTERS, *_filters(searches), GOOD_ONES, *_good_ones(searches), RUNGS]
    return "\n".join(parts)


def _cases(cases: dict[str, Any]) -> Iterator[str]:
    tasks = list(cases["plain"]["gain"])
    yield f"| | {' | '.join(f'gain on `{task}`' for task in tasks)} | to the plain search | 95 % interval | size |"
    yield f"|---|{'---|' * (len(tasks) + 3)}"
    for name, case in cases.items():
        gains = " | ".join(f"{case['gain'][task]:+.4f}" for task in tasks)
        beside = f"| {case['difference_to_plain']:+.4f} | {interval_text(*(case['interval'] or (None, None)))} |"
        beside = "| | |" if name == "plain" else beside
        yield f"| {name} | {gains} {beside} {case['complexity']:.1f} |"


def _filters(searches: list[dict[str, Any]]) -> Iterator[str]:
    columns = ("task", "filter", "refused", "of births", "training steps saved", "trained after all", "wrongly")
    yield f"| {' | '.join(columns)} | 95 % interval |"
    yield f"|{'---|' * (len(columns) + 1)}"
    for search in searches:
        for row in search["filters"]:
            lost = row.get("top_tenth_but_not_its_original", row["top_tenth"])
            low, high = lost["interval"]
            yield (
                f"| `{search['task']}` | {row['filter']} | {row['refused']:,} | {row['share_of_births']:.1%} | "
                f"{row['training_steps_saved']:,} | {row['sample']} | {lost['count']} | {low:.1%} to {high:.1%} |"
            )


def _good_ones(searches: list[dict[str, Any]]) -> Iterator[str]:
    columns = ("task", "filters", "good ones lost", "kept", "share lost")
    yield f"| {' | '.join(columns)} | 95 % interval |"
    yield f"|{'---|' * (len(columns) + 1)}"
    for search in searches:
        name = f"rungs at {' and '.join(map(str, search['rungs']))}" if search["rungs"] else "duplicates and screening"
        good = search["good_ones"]
        kept, most = ("at least ", "at most ") if good["kept_is"] == "at least" else ("", "")
        share = f"{most if good['lost'] else ''}{good['share_lost']:.0%}"
        low, high = good["interval"]
        yield (
            f"| `{search['task']}` | {name} | {good['lost']:.0f} | {kept}{good['kept']} | {share} | "
            f"{low:.0%} to {high:.0%} |"
        )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
