"""Comparison lines: one a loss and task, from measurements: mean, paired difference to a baseline, verdict.

P-values are corrected by Holm over the losses of a task. Nothing is said of a loss, nor beside a baseline, that failed
under some seed: the seeds that are left would be chosen by the failure.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossearch.results.records import DIRECTIONS, METRICS, Measurement
from lossearch.results.statistics.intervals import mean, paired_differences, spread
from lossearch.results.statistics.paired_tests import PairedTest, fewest_pairs, holm, negated, paired_test, verdict


@dataclass(frozen=True)
class Line:
    """One loss on one task by one measure, beside the baseline under the same seeds."""

    task: str
    measure: str
    split: str
    loss: str
    formula: str
    fidelity: str
    seeds: int  #: trainings that were finished
    failed: int  #: trainings that failed, or were given up after one that did
    mean: float | None  #: of the measure over the finished trainings
    std: float | None  #: standard deviation over them
    difference: float | None  #: mean of the paired differences to the baseline; null for the baseline itself
    low: float | None  #: 95 % BCa interval of the difference
    high: float | None
    p_wilcoxon: float | None  #: two-sided
    p_permutation: float | None  #: two-sided
    p_corrected: float | None  #: the Wilcoxon p by Holm over the losses of the task
    verdict: str  #: baseline, better, worse, no difference shown, too few seeds, not judged, failed, baseline failed
    calibration: float | None
    learning_rate: float | None
    seconds: float | None  #: of training, over all seeds
    reason: str | None  #: of the first failure

    def numbers(self, plus_minus: str) -> tuple[str, str, str, str]:
        """Mean with its spread, difference, interval and corrected p-value as text, empty where there is none."""
        spread_of = "" if self.std is None else f"{plus_minus}{self.std:.4f}"
        interval = "" if self.low is None or self.high is None else f"{self.low:+.4f} to {self.high:+.4f}"
        return (
            "" if self.mean is None else f"{self.mean:.4f}{spread_of}",
            "" if self.difference is None else f"{self.difference:+.4f}",
            interval,
            "" if self.p_corrected is None else f"{self.p_corrected:.3g}",
        )


def comparison_lines(measurements: Iterable[Measurement], baseline: str, measure: str | None = None) -> list[Line]:
    """Lines of every task, best loss first; ``measure`` is the task's own metric where none is named."""
    by_task: dict[str, list[Measurement]] = {}
    for each in measurements:
        by_task.setdefault(each.task, []).append(each)
    return [line for of_task in by_task.values() for line in _lines_of_task(of_task, baseline, measure)]


def _lines_of_task(measurements: Sequence[Measurement], baseline: str, measure: str | None) -> list[Line]:
    name = measure or next(each.measure for each in measurements if each.measure in METRICS)
    groups: dict[str, list[Measurement]] = {}
    for each in measurements:
        if each.measure == name or each.value is None:
            groups.setdefault(each.loss, []).append(each)
    if not any(each.measure == name for each in measurements):
        return []
    theirs = groups.get(baseline, [])
    sound = bool(theirs) and all(each.value is not None for each in theirs)
    tests = {loss: _tested(group, theirs) for loss, group in groups.items() if loss != baseline and sound}
    lines = [_line(name, group, tests.get(loss)) for loss, group in groups.items()]
    sign = DIRECTIONS.get(name, 0)
    lines = [_unjudged(line, baseline, sound) for line in _with_verdicts(lines, tests, sign)]
    return sorted(lines, key=lambda line: (line.mean is None, -(sign or 1) * (line.mean or 0.0), line.loss))


def _by_seed(group: Iterable[Measurement]) -> dict[int, float]:
    return {each.seed: each.value for each in group if each.value is not None}


def _tested(group: Sequence[Measurement], theirs: Sequence[Measurement]) -> PairedTest | None:
    """The test of a loss that did not fail against the baseline."""
    if any(each.value is None for each in group):
        return None
    differences = paired_differences(_by_seed(group), _by_seed(theirs))
    return paired_test(differences) if differences else None


def _line(name: str, group: Sequence[Measurement], test: PairedTest | None) -> Line:
    own, first = _by_seed(group), group[0]
    failures = [each for each in group if each.value is None]
    finished = list(own.values()) if own and not failures else []
    return Line(
        task=first.task,
        measure=name,
        split=first.split,
        loss=first.loss,
        formula=first.formula,
        fidelity=first.fidelity,
        seeds=len(own),
        failed=len({each.seed for each in failures}),
        mean=mean(finished) if finished else None,
        std=spread(finished),
        difference=None if test is None else test.difference,
        low=None if test is None else test.low,
        high=None if test is None else test.high,
        p_wilcoxon=None if test is None else test.p_wilcoxon,
        p_permutation=None if test is None else test.p_permutation,
        p_corrected=None,
        verdict="too few seeds",
        calibration=first.calibration,
        learning_rate=first.learning_rate,
        seconds=sum({each.seed: each.seconds or 0.0 for each in group}.values()),
        reason=failures[0].reason if failures else None,
    )


def _with_verdicts(lines: Sequence[Line], tests: Mapping[str, PairedTest | None], sign: int) -> list[Line]:
    """The lines with p-values corrected over all of them that have one, and what may be said of them."""
    tested = [line for line in lines if line.p_wilcoxon is not None]
    corrected = dict(
        zip((line.loss for line in tested), holm([line.p_wilcoxon or 0.0 for line in tested]), strict=True)
    )
    found = []
    for line in lines:
        test = tests.get(line.loss)
        if test is not None and line.loss in corrected:
            toward = negated(test) if sign < 0 else test
            said = verdict(toward, corrected[line.loss], len(tested)) if sign else "not judged"
            line = replace(line, p_corrected=corrected[line.loss], verdict=said)
        found.append(line)
    return found


def _unjudged(line: Line, baseline: str, sound: bool) -> Line:
    """The line with the verdict of those that are compared with nothing."""
    if line.failed:
        return replace(line, verdict="failed")
    if line.loss == baseline:
        return replace(line, verdict="baseline")
    return line if sound else replace(line, verdict="baseline failed")


# --- Comparison table: the lines of a comparison, always rebuildable from its measurements.


class ComparisonTable:
    """The lines of a comparison, and the measurements that they follow from.

    ``measure`` is the task's own metric where none is named.
    """

    def __init__(self, measurements: Iterable[Measurement], baseline: str, measure: str | None = None) -> None:
        self.measurements = list(measurements)
        self.lines = comparison_lines(self.measurements, baseline, measure)

    def of_task(self, task: str) -> list[Line]:
        """The lines of one task, best loss first."""
        return [line for line in self.lines if line.task == task]

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order of their measurements."""
        return list(dict.fromkeys(line.task for line in self.lines))

    def confusion_matrix(self, task: str, loss: str) -> NDArray[np.int64]:
        """Counts [classes, classes] over all seeds: rows are true classes, columns found ones.

        Raises KeyError where there is none, as for pairs that are verified.
        """
        own = [
            each.confusion for each in self.measurements if (each.task, each.loss) == (task, loss) and each.confusion
        ]
        if not own:
            raise KeyError(f"no confusion matrix of {loss} on {task}")
        counts = np.sum(np.asarray(own, np.int64), 0)
        return counts.reshape(math.isqrt(len(counts)), -1)

    def to_dicts(self) -> list[dict[str, Any]]:
        """The lines as plain data."""
        return [asdict(line) for line in self.lines]

    def to_pandas(self) -> Any:
        """The lines as a pandas data frame. Raises ImportError where pandas is not installed."""
        from lossearch.results.storage.tables import to_pandas

        return to_pandas(Line, self.lines)

    def as_markdown(self) -> str:
        """A Markdown table for each task."""

        return as_markdown(self.lines)

    def write(self, path: Path) -> None:
        """Write the lines as a Parquet file."""
        from lossearch.results.storage.tables import write_records

        write_records(path, Line, self.lines)


def why_no_winner(lines: Sequence[Line]) -> str | None:
    """Why no winner is called, where that is for want of seeds or of a baseline."""
    short = [line.task for line in lines if line.verdict == "too few seeds"]
    if any(line.verdict == "baseline failed" for line in lines):
        return "No winner is called where the baseline failed: its reason stands in the table."
    if not short:
        return None
    losses = max(sum(line.task == task and line.difference is not None for line in lines) for task in set(short))
    least = fewest_pairs(losses)
    return (
        f"No winner is called with fewer than {least} seeds among {losses} losses beside the baseline: even for a loss "
        "that wins under every seed, Wilcoxon's two-sided p, corrected for so many by Holm, would not fall below "
        f"0.05. Take {least} or more."
    )


# --- A comparison as Markdown: a table for each task. Text of others stands as code.


def as_markdown(lines: Sequence[Line], level: int = 2) -> str:
    """A heading of this level and a table for each task; what was tuned has a column."""
    parts = []
    for task in dict.fromkeys(line.task for line in lines):
        own = [line for line in lines if line.task == task]
        head = own[0]
        parts += [
            f"{'#' * level} {code(task)}: {code(head.measure)} on the {head.split} split",
            "",
            f"{_trained(own)}, {max(line.seeds for line in own)} seeds.",
            "",
            "| loss | mean ± std | difference to the baseline | 95 % interval | p (Holm) | verdict | learning rate |",
            "|---|---|---|---|---|---|---|",
            *(_row(line) for line in own),
            "",
        ]
    return "\n".join(parts)


def _trained(lines: Sequence[Line]) -> str:
    """By which training, where it was one for all."""
    labels = {line.fidelity for line in lines}
    return f"Trained as {code(labels.pop())}" if len(labels) == 1 else "Each trained at the learning rate that suits it"


def _row(line: Line) -> str:
    rate = "" if line.learning_rate is None else f"{line.learning_rate:.3g}"
    said = line.verdict if line.mean is not None else f"{line.verdict}: {code(line.reason or '')}"
    return f"| {' | '.join((code(line.loss), *line.numbers(' ± '), said, rate))} |"


def code(text: str) -> str:
    """Text as Markdown code, without what would end it."""
    plain = "".join(each if each.isprintable() and each not in "`|<>" else "?" for each in text)
    return f"`{plain}`" if plain.strip() else "(none)"
