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

from primitives.catalog import CATALOG
from primitives.errors import UserError
from primitives.formula import Formula
from primitives.latex import latex
from primitives.parser import parse
from results.curves import CurvePoint, Drawn, curves
from results.explanation import Explanation, folder_of, read_explanation
from results.leaderboard import Leaderboard
from results.leaderboard_rows import BASELINE, Row
from results.record_tables import DamagedFile, NewerFile
from results.run_log import logged_events
from results.trial_record import Trial, read_trial
from results.tuned_losses import TunedLoss, read_tuned
from results.verdict_table import read_verdicts
from results.verdicts import Verdict

#: A known loss that survivors are drawn beside, with cross-entropy.
DRAWN_BESIDE = "focal"

#: Classes and size of the embedding that curves are drawn with.
CLASSES, EMBEDDING_SIZE = 10, 64

#: What is raised for a file that cannot be read.
_UNREADABLE = (DamagedFile, NewerFile, UserError, OSError)

#: What the log of a run counts.
_COUNTED = ("evaluated", "stopped", "failed", "rejected", "duplicates")

#: Ancestors of a survivor that are told of at most, the nearest.
ANCESTORS = 60


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


@dataclass(frozen=True)
class Ancestor:
    """A loss that a survivor comes from, or the survivor itself."""

    row: Row
    gained: float | None  #: fitness beyond that of its better parent


@dataclass(frozen=True)
class Survivor:
    """One of the best losses, and all that a run tells of it."""

    row: Row
    latex: str
    simplified: str | None
    nearest: str | None
    ancestors: list[Ancestor]  #: itself first, then from the youngest to the oldest
    forgotten: int  #: ancestors that are not among them
    curves: list[CurvePoint]
    trial: Trial | None
    explanation: Explanation | None
    tuned: list[TunedLoss]
    verdicts: list[Verdict]


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
    survivors: list[Survivor]
    verdicts: list[Verdict]
    baseline: Row | None
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
    events = list(logged_events(path / "log.jsonl"))
    verdicts = _verdicts(path, missing)
    tuned = _tuned(path, missing)
    generations = _generations(events, rows)
    if not generations:
        missing.append("No generation has ended yet, so that there is no progress to draw.")
    best = [row for row in rows[:top] if row.rank is not None]
    if not best:
        missing.append("No loss was trained to the end yet, so that there is nothing to rank.")
    family = _Family(rows)
    survivors = []
    for row in best:
        try:
            survivors.append(_survivor(row, path, family, tuned, verdicts, missing))
        except UserError as error:
            missing.append(f"Rank {row.rank} cannot be shown: {error}")
    return Contents(
        run=path.resolve().name,
        name=_named(path),
        task=rows[0].task if rows else "unknown",
        metric=rows[0].metric if rows else "fitness",
        state=_state(events),
        counts=board.counts(),
        rows=rows,
        generations=generations,
        reasons=_reasons(rows),
        survivors=survivors,
        verdicts=verdicts,
        baseline=next((row for row in board.rows.named() if row.name == BASELINE), None),
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
    return next((said[name] for each in reversed(events) if (name := each.get("event")) in said), "unknown")


def _generations(events: Sequence[dict[str, Any]], rows: Sequence[Row]) -> list[Generation]:
    """The generations that ended; a resumed run tells of one twice, and the last counts."""
    told = {
        each["number"]: each for each in events if each.get("event") == "generation" and _is_whole(each.get("number"))
    }
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


def _verdicts(path: Path, missing: list[str]) -> list[Verdict]:
    try:
        table = read_verdicts(path / "verdict")
    except _UNREADABLE as error:
        missing.append(f"Verdicts cannot be read: {error}")
        return []
    if table is None:
        missing.append("No verdict: lossearch tune and lossearch compare on this run say what may be claimed.")
        return []
    return table.lines


def _tuned(path: Path, missing: list[str]) -> list[TunedLoss]:
    if not (path / "tuning").is_dir():
        return []
    try:
        return read_tuned(path / "tuning")
    except _UNREADABLE as error:
        missing.append(f"Tuned settings cannot be read: {error}")
        return []


class _Family:
    """The losses of a run by their ids, and who comes from whom."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {row.loss_id: row for row in rows}

    def ancestors(self, row: Row) -> list[Ancestor]:
        """A loss and all that it comes from, itself first, then the youngest first."""
        seen, waiting = {row.loss_id: row}, [row]
        while waiting:
            for parent in self._parents(waiting.pop()):
                if parent.loss_id not in seen:
                    seen[parent.loss_id] = parent
                    waiting.append(parent)
        older = sorted(list(seen.values())[1:], key=lambda each: (-each.generation, each.loss_id))
        return [Ancestor(each, self._gained(each)) for each in (row, *older)]

    def _parents(self, row: Row) -> list[Row]:
        return [self._rows[each] for each in row.parents if each in self._rows]

    def _gained(self, row: Row) -> float | None:
        known = [each.fitness_mean for each in self._parents(row) if each.fitness_mean is not None]
        return None if row.fitness_mean is None or not known else row.fitness_mean - max(known)


def _survivor(
    row: Row, path: Path, family: _Family, tuned: Sequence[TunedLoss], verdicts: Sequence[Verdict], missing: list[str]
) -> Survivor:
    formula = parse(row.formula)
    ancestors = family.ancestors(row)
    explanation = _explanation(path, row, missing)
    return Survivor(
        row=row,
        latex=latex(formula),
        simplified=None if explanation is None else explanation.form.canonical,
        nearest=None if explanation is None else explanation.form.nearest,
        ancestors=ancestors[:ANCESTORS],
        forgotten=max(0, len(ancestors) - ANCESTORS),
        curves=_curves(formula, row, missing),
        trial=read_trial(path / "log.jsonl", row.loss_id),
        explanation=explanation,
        tuned=[each for each in tuned if each.rank == row.rank and each.kind == "found"],
        verdicts=[each for each in verdicts if each.rank == row.rank],
    )


def _explanation(path: Path, row: Row, missing: list[str]) -> Explanation | None:
    try:
        found = read_explanation(folder_of(path, row.loss_id))
    except _UNREADABLE as error:
        missing.append(f"The explanation of rank {row.rank} cannot be read: {error}")
        return None
    if found is None:
        missing.append(
            f"Rank {row.rank} is not explained: lossearch explain RUN --rank {row.rank} trains it without its parts."
        )
    return found


def _curves(formula: Formula, row: Row, missing: list[str]) -> list[CurvePoint]:
    beside = [(name, CATALOG[name].bound()) for name in (BASELINE, DRAWN_BESIDE) if row.name != name]
    drawn = [Drawn(row.name or row.formula, formula, row.calibration or 1.0)]
    drawn += [Drawn(name, known, 1.0) for name, known in beside]
    try:
        return curves(drawn, CLASSES, EMBEDDING_SIZE)
    except (ValueError, RuntimeError) as error:
        missing.append(f"Rank {row.rank} cannot be drawn: {error}")
        return []
