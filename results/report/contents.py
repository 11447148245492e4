"""What a report tells, gathered from a run's directory; what a run lacks is told as well.

Invariant: nothing is trained or written here, and a part that cannot be read costs that part alone.
"""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from lossearch.primitives.errors import UserError
from lossearch.results.findings.observation import Observation
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.leaderboard import Leaderboard
from lossearch.results.ranking.row import Row
from lossearch.results.report.loss_facts import Family, LossFacts, loss_facts, observation_of, since
from lossearch.results.storage.run_files import logged_events

#: What the log of a run counts.
_COUNTED = ("evaluated", "stopped", "failed", "rejected", "duplicates")


@dataclass(frozen=True)
class Generation:
    """What a generation came to."""

    number: int
    evaluated: int
    stopped: int
    failed: int
    rejected: int
    duplicates: int
    best: float | None  #: fitness of the best loss so far
    median: float | None  #: of the losses born in it that were trained to the end


@dataclass
class Contents:
    """What the report of a run tells."""

    run: str
    name: str
    task: str
    metric: str
    state: str
    counts: dict[str, int]
    rows: list[Row]
    generations: list[Generation]
    reasons: list[tuple[str, str, int]]  #: status, reason without its numbers, how many losses
    survivors: list[LossFacts]
    verdicts: list[Verdict]
    baseline: Row | None
    observed_baseline: Observation | None
    missing: list[str] = field(default_factory=list)  #: what is not there, and how it is had


def contents(path: Path, top: int = 3) -> Contents:
    """What the report of the run in a directory tells, with its ``top`` losses as survivors.

    Raises NotARun where there is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damages are told on the page
        board = Leaderboard(path)
    missing = [f"{each.reason.rstrip('.')}. Its evaluations are left out." for each in board.damages]
    rows = list(board.rows)
    known = since(path)
    missing += known.missing
    generations = generations_of(path, rows)
    if not generations:
        missing.append("No generation has ended yet, so that there is no progress to draw.")
    best = [row for row in rows[:top] if row.rank is not None]
    if not best:
        missing.append("No loss was trained to the end yet, so that there is nothing to rank.")
    family, survivors = Family(rows), []
    for row in best:
        try:
            facts = loss_facts(board, row, family, known)
        except UserError as error:
            missing.append(f"Rank {row.rank} cannot be shown: {error}")
        else:
            missing += facts.missing
            survivors.append(facts)
    baseline = board.baseline
    if survivors and all(each.observation is None for each in survivors):
        missing.append("No survivor was trained for the report: --no-training leaves that out.")
    for each in survivors:
        if each.observation is not None and each.observation.form.reason is not None:
            missing.append(f"Rank {each.row.rank} was not seen in training: {each.observation.form.reason}")
    return Contents(
        run=path.resolve().name,
        name=_named(path),
        task=rows[0].task if rows else "unknown",
        metric=rows[0].metric if rows else "fitness",
        state=_state(list(logged_events(path / "log.jsonl"))),
        counts=board.counts(),
        rows=rows,
        generations=generations,
        reasons=_reasons(rows),
        survivors=survivors,
        verdicts=known.verdicts,
        baseline=baseline,
        observed_baseline=None if baseline is None else observation_of(path, baseline.loss_id, missing),
        missing=missing,
    )


def _named(path: Path) -> str:
    """The name of the experiment, from its file; the directory's where that cannot be read."""
    try:
        text = (path / "experiment.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return path.resolve().name
    found = re.search(r'^name = "([^"\n]{1,100})"', text, re.MULTILINE)
    return path.resolve().name if found is None else found[1]


def _state(events: Sequence[dict[str, Any]]) -> str:
    """How the run stands, by the last event that says so."""
    said = {
        "ended": "finished",
        "interrupted": "interrupted",
        "started": "running, or stopped",
        "resumed": "running, or stopped",
    }
    told = (said.get(str(each.get("event"))) for each in reversed(events))
    return next((each for each in told if each is not None), "unknown")


def generations_of(path: Path, rows: Sequence[Row]) -> list[Generation]:
    """The generations of a run that ended; a resumed run tells of one twice, and the last counts."""
    events = [each for each in logged_events(path / "log.jsonl") if each.get("event") == "generation"]
    told = {each["number"]: each for each in events if _is_whole(each.get("number"))}
    born: dict[int, list[float]] = {}
    for row in rows:
        if row.fitness_mean is not None:
            born.setdefault(row.generation, []).append(row.fitness_mean)
    found, before = [], dict.fromkeys(_COUNTED, 0)
    for number in sorted(told):
        sums = {name: _count(told[number].get(name), before[name]) for name in _COUNTED}
        best, fitness = told[number].get("best_fitness"), born.get(number - 1)  # rows count generations from 0
        found.append(
            Generation(
                number,
                best=best if isinstance(best, float) and isfinite(best) else None,
                median=median(fitness) if fitness else None,
                **{name: sums[name] - before[name] for name in _COUNTED},
            )
        )
        before = sums
    return found


def _count(value: Any, at_least: int) -> int:
    """A number of losses so far, as a log tells it that may be a stranger's."""
    return max(at_least, value) if _is_whole(value) else at_least


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _reasons(rows: Sequence[Row]) -> list[tuple[str, str, int]]:
    """Why losses were not trained to the end, most frequent first; numbers are left out, so that like are one."""
    found = Counter(
        (row.status, re.sub(r"[-+]?\d[\d.e+-]*", "#", row.reason)[:160])
        for row in rows
        if row.reason and row.status in ("rejected", "failed")
    )
    return [(status, reason, count) for (status, reason), count in found.most_common(20)]
