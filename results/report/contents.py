"""Contents of a report, gathered from a run's directory, with a list of what is missing.

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
from lossearch.primitives.language.parser import parse
from lossearch.results.findings.observation import Observation
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.leaderboard import Entry, Leaderboard
from lossearch.results.ranking.counts import CandidateCounts
from lossearch.results.ranking.row import Row
from lossearch.results.report.headline import Headline, write_headline
from lossearch.results.report.loss_facts import Family, LossFacts, loss_facts, read_later_findings
from lossearch.results.report.observed import UNREADABLE, find_tuned_form, read_training
from lossearch.results.report.settings import read_settings
from lossearch.results.storage.logged_warnings import logged_warnings
from lossearch.results.storage.run_files import MAX_DECLARATION, ForeignFile, logged_events, read_run_file

#: Counts in the log of a run.
_COUNTED = ("evaluated", "stopped", "failed", "rejected", "duplicates")

#: State of a run by the last of these events in its log.
_STATES = {
    "ended": "finished",
    "interrupted": "interrupted",
    "started": "running, or stopped",
    "resumed": "running, or stopped",
}


@dataclass(frozen=True)
class Generation:
    """One generation: numbers of its losses by their outcome, and fitness."""

    number: int  #: from 1
    evaluated: int
    stopped: int
    failed: int
    rejected: int
    duplicates: int
    best: float | None  #: fitness of the best loss so far
    median: float | None  #: median fitness of the losses born in it that were trained to the end


@dataclass
class Contents:
    """The contents of the report of a run."""

    run: str  #: name of the run's directory
    name: str  #: name of the experiment
    task: str
    metric: str
    state: str  #: finished, interrupted, "running, or stopped", or unknown
    candidates: CandidateCounts  #: numbers of candidates, as every output of lossearch counts them
    rows: list[Row]
    generations: list[Generation]
    reasons: list[tuple[str, str, int]]  #: status, reason without its numbers, number of losses
    survivors: list[LossFacts]
    verdicts: list[Verdict]
    baseline: Row | None
    observed_baseline: Observation | None  #: as the search trained it
    observed_tuned_baseline: Observation | None = None  #: with its tuned learning rate
    headline: Headline | None = None  #: None where no loss was trained to the end
    settings: list[tuple[str, str]] = field(default_factory=list)  #: label and value of the settings of the search
    warnings: tuple[str, ...] = ()  #: that the search logged
    missing: list[str] = field(default_factory=list)  #: sentences on what is missing, and how to get it


def gather_contents(path: Path, top: int = 3) -> Contents:
    """Gather the contents of the report of a run, with the loss to use and its ``top`` losses as survivors.

    Raises NotARun where the directory is no run's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the page itself names damaged files
        board = Leaderboard(path)
        best = find_best(board)
    missing = [f"{damage.reason.rstrip('.')}. Its evaluations are left out." for damage in board.damages]
    rows = list(board.rows)
    later = read_later_findings(path)
    missing += later.missing
    generations = read_generations(path, rows)
    if not generations:
        missing.append("No generation has ended yet, so there is no progress to draw.")
    if best is None:
        missing.append(f"No loss was trained to the end yet, so there is nothing to rank{board.why_unranked()}.")
    family, survivors = Family(rows), []
    for entry in _choose_survivors(board, best, top):
        row = entry.row
        try:
            facts = loss_facts(board, row, family, later, entry.form)
        except UserError as error:
            missing.append(f"Rank {row.rank} cannot be shown: {error}")
        else:
            missing += facts.missing
            survivors.append(facts)
    missing += _missing_observations(survivors)
    baseline = board.baseline
    observed_baseline, observed_tuned_baseline = _read_baseline(board, baseline, missing)
    events = list(logged_events(path / "log.jsonl"))
    state = _state(events)
    return Contents(
        run=path.resolve().name,
        name=_experiment_name(path),
        task=rows[0].task if rows else "unknown",
        metric=rows[0].metric if rows else "fitness",
        state=state,
        candidates=board.candidate_counts(),
        rows=rows,
        generations=generations,
        reasons=_count_reasons(rows),
        survivors=survivors,
        verdicts=later.verdicts,
        baseline=baseline,
        observed_baseline=observed_baseline,
        observed_tuned_baseline=observed_tuned_baseline,
        headline=None if best is None else write_headline(best, board.ranked, path, state, bool(later.tuned)),
        settings=read_settings(path, events),
        warnings=logged_warnings(path / "log.jsonl"),
        missing=missing,
    )


def find_best(board: Leaderboard) -> Entry | None:
    """Return the loss to use: the judged one where verdicts can be read; None where no loss was trained to the end."""
    if not board.ranked:
        return None
    try:
        best = board.best()
        parse(best.form.formula if best.form is not None else best.row.formula)
    except UNREADABLE:  # a damaged file, or text of a stranger's run
        return board[0]
    return best


def _read_baseline(
    board: Leaderboard, baseline: Row | None, missing: list[str]
) -> tuple[Observation | None, Observation | None]:
    """Read the training of cross-entropy as the search did it, and that with its tuned learning rate."""
    if baseline is None:
        return None, None
    form = find_tuned_form(board, baseline)
    plain, _ = read_training(board.path, baseline, None, missing)
    tuned, tuned_form = (None, None) if form is None else read_training(board.path, baseline, form, [])
    return plain, tuned if tuned_form is not None else None


def _choose_survivors(board: Leaderboard, best: Entry | None, top: int) -> list[Entry]:
    """Return the losses with a section of their own: the one to use, then the first ones of the leaderboard."""
    if best is None or top < 1:
        return []
    return [best, *(entry for entry in board[:top] if entry.row.loss_id != best.row.loss_id)]


def _missing_observations(survivors: Sequence[LossFacts]) -> list[str]:
    missing = []
    if survivors and all(survivor.observation is None for survivor in survivors):
        missing.append("No survivor was trained for the report. 'lossearch report --no-training' leaves that out.")
    for survivor in survivors:
        if survivor.observation is not None and survivor.observation.form.reason is not None:
            reason = survivor.observation.form.reason
            missing.append(f"The training of rank {survivor.row.rank} for the report failed: {reason}")
    return missing


def _experiment_name(path: Path) -> str:
    """Return the name of the experiment from its file, or the directory's name where that cannot be read."""
    try:
        text = read_run_file(path / "experiment.toml", MAX_DECLARATION).decode("utf-8", "replace")
    except (OSError, ForeignFile):
        return path.resolve().name
    line = re.search(r'^name = "([^"\n]{1,100})"', text, re.MULTILINE)
    return path.resolve().name if line is None else line[1]


def _state(events: Sequence[dict[str, Any]]) -> str:
    """Return the state of the run by the last event that determines it."""
    states = (_STATES.get(str(event.get("event"))) for event in reversed(events))
    return next((state for state in states if state is not None), "unknown")


def read_generations(path: Path, rows: Sequence[Row]) -> list[Generation]:
    """Read the generations of a run that ended. A resumed run may log one twice; then the last entry counts."""
    events = list(logged_events(path / "log.jsonl", "generation"))
    by_number = {event["number"]: event for event in events if _is_count(event.get("number"))}
    fitness_by_birth: dict[int, list[float]] = {}
    for row in rows:
        if row.fitness_mean is not None:
            fitness_by_birth.setdefault(row.generation, []).append(row.fitness_mean)
    generations, before = [], dict.fromkeys(_COUNTED, 0)
    for number in sorted(by_number):
        event = by_number[number]
        totals = {name: _total(event.get(name), before[name]) for name in _COUNTED}
        best, fitness = event.get("best_fitness"), fitness_by_birth.get(number - 1)  # rows count generations from 0
        generations.append(
            Generation(
                number,
                best=best if isinstance(best, float) and isfinite(best) else None,
                median=median(fitness) if fitness else None,
                **{name: totals[name] - before[name] for name in _COUNTED},
            )
        )
        before = totals
    return generations


def _total(value: Any, at_least: int) -> int:
    """Return a total from a log, which may be a stranger's: it never falls below the total before it."""
    return max(at_least, value) if _is_count(value) else at_least


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _count_reasons(rows: Sequence[Row]) -> list[tuple[str, str, int]]:
    """Count the reasons why losses were rejected or failed, most frequent first.

    Numbers in a reason are replaced by #, so that equal reasons count together.
    """
    counts = Counter(
        (row.status, re.sub(r"[-+]?\d[\d.e+-]*", "#", row.reason)[:160])
        for row in rows
        if row.reason and row.status in ("rejected", "failed")
    )
    return [(status, reason, count) for (status, reason), count in counts.most_common(20)]
