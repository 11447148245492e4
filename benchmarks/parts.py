"""What the parts of the search add and what its filters save: writes docs/search.md from what was measured.

The ablation and the filters are measured by benchmarks/ablation.py and benchmarks/filters.py, which keep what they
found in ablation.jsonl, ablation_1200.jsonl, ablation_1200_by_100.jsonl and filters.json.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ablation import summary

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "search.md"

HEAD = """# What the parts of the search add, and what its filters save

## Parts of the search

Searches with each part and without it, under ten seeds on each of two tasks (wrong labels, a long tail), at an equal
number of trainings. A search is worth what its best loss reaches under six fresh seeds on the validation split, less
what cross-entropy reaches under them; differences to the plain search are paired by task and seed, with 95 % intervals
of Student's t over the 20 pairs (`benchmarks/ablation.py`).

The plain search varies by crossover and by mutation of subtrees, nodes and numbers, and selects by the Pareto front
of fitness and size. Left out of the code since they added nothing here: epsilon-lexicase over seeds (over several
tasks it was not measured), age as a third objective, restarts, niches by the direction of the gradient, and numbers
that Optuna's TPESampler chose by what others of the same shape were worth, in the place of most mutations of one. **No
other part could be shown to add anything at these budgets**: each interval reaches below zero. All of them are off
unless an experiment gives them a weight. The searches for the five families do, though no figure here demands it.
They retest: at 1,200 candidates the best of a plain search is worth less than at 320 where labels are wrong, since it
was lucky, and retests are meant against that. And they vary by all kinds (`all`), since crossover alone had not
joined terms that are better together on the long tail. Four islands added nothing either; they stay for steady searches
on many workers (docs/clusters.md).

The tables were measured before random trees without predictions or target were left out, in all cases alike.
"""

#: The tables of the ablation, and what they are made of.
TABLES = (
    ("320 candidates", "ablation.jsonl"),
    ("1,200 candidates", "ablation_1200.jsonl"),
    ("1,200 candidates in generations of 100", "ablation_1200_by_100.jsonl"),
)

FILTERS = """
## Filters

What the duplicate test and each check of the screening refused in the search of `experiments/digits.toml` on two tasks,
and each rung in one with rungs at an eighth and half of the steps; and what a random sample of the refused was worth
when it was trained in full after all, by the search's own protocol (`benchmarks/filters.py`). One was thrown away
wrongly where it reaches the worst of the top tenth that the search trained to the end; a duplicate, where moreover its
original does not. Intervals are exact binomial ones, 95 %.

The table was measured before the fingerprint's probe had 12 samples and saw terms that act on right predictions alone:
with the 8 of then, losses that differ in such terms alone could be taken for duplicates.
"""

GOOD_ONES = """
How many of the good ones a search loses, those that reach the bar: what it kept of them stands beside what it lost, by
estimate, as if each filter had lost as large a share of the refused as of its sample. Intervals are those of the lost,
propagated from the binomial ones (Zou and Donner, Statistics in Medicine 27, 2008); the bar and what was kept are taken
as they are. How many were kept was not written down: the size of the top tenth at least, so that the share lost is an
upper one. Where a search has rungs, the top tenth is one of candidates that had passed all of them.
"""

RUNGS = """
Screening and the duplicate test lost few of the good ones, as far as samples tell: of 860 rejected candidates one was
good, and no duplicate of 400 was lost, by which up to a fifth or a quarter of the good ones may have gone. **Rungs lose
many of the good ones, most where labels are wrong and two seeds tell little**: on `digits_noisy` the 12 % of candidates
that they let go on held at least 13 % of the good ones, where chance would have left 12 %; on `digits`, at least 57 %.
Under two seeds some reach the bar by luck alone, and nothing is lost with those. What rungs buy is more candidates:
here they save 69 % of the training steps, so that three are trained in the place of one.
"""


def page() -> str:
    """The page, from what was measured."""
    parts = [HEAD]
    for title, file in TABLES:
        found = [json.loads(line) for line in (HERE / file).read_text(encoding="utf-8").splitlines()]
        parts += [f"### {title}", "", *_cases(summary(found)), ""]
    searches = json.loads((HERE / "filters.json").read_text(encoding="utf-8"))["filters"]
    parts += [FILTERS, *_filters(searches), GOOD_ONES, *_good_ones(searches), RUNGS]
    return "\n".join(parts)


def _cases(cases: dict[str, Any]) -> Iterator[str]:
    tasks = list(cases["plain"]["gain"])
    yield f"| | {' | '.join(f'gain on `{task}`' for task in tasks)} | to the plain search | 95 % interval | size |"
    yield f"|---|{'---|' * (len(tasks) + 3)}"
    for name, case in cases.items():
        gains = " | ".join(f"{case['gain'][task]:+.4f}" for task in tasks)
        low, high = case["interval"]
        beside = "| | |" if name == "plain" else f"| {case['difference_to_plain']:+.4f} | {low:+.4f} to {high:+.4f} |"
        yield f"| {name} | {gains} {beside} {case['complexity']:.1f} |"


def _filters(searches: list[dict[str, Any]]) -> Iterator[str]:
    columns = ("task", "filter", "refused", "of births", "training steps saved", "trained after all", "wrongly")
    yield f"| {' | '.join(columns)} | 95 % interval |"
    yield f"|{'---|' * (len(columns) + 1)}"
    for search in searches:
        for each in search["filters"]:
            lost = each.get("top_tenth_but_not_its_original", each["top_tenth"])
            low, high = lost["interval"]
            yield (
                f"| `{search['task']}` | {each['filter']} | {each['refused']:,} | {each['share_of_births']:.1%} | "
                f"{each['training_steps_saved']:,} | {each['sample']} | {lost['count']} | {low:.1%} to {high:.1%} |"
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
