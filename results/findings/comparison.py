"""Comparison of losses: one line for each loss and task, with its mean, paired difference to the baseline and verdict.

The lines follow from measurements alone, so a table can always be built again. Intervals and p-values hold for all
losses of a task together. A loss that failed under some seed gets no mean and no difference, and neither does any loss
beside a baseline that failed: the failure would choose the seeds that are left.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossearch.results.findings.table_text import (
    PairedDifference,
    code,
    counted,
    signed,
    with_deviation,
)
from lossearch.results.records import DIRECTIONS, METRICS, Measurement
from lossearch.results.statistics.intervals import mean, paired_differences, spread
from lossearch.results.statistics.paired_tests import PairedTest, fewest_pairs, paired_test


@dataclass(frozen=True)
class Line(PairedDifference):
    """One loss on one task by one measure, beside the baseline under the same seeds."""

    task: str
    measure: str
    split: str
    loss: str
    formula: str
    fidelity: str
    seeds: int  #: number of finished trainings
    failed: int  #: number of trainings that failed, or were skipped after a failed one
    mean: float | None  #: of the measure over the finished trainings
    std: float | None  #: standard deviation over the finished trainings
    difference: float | None  #: mean of the paired differences to the baseline; null for the baseline itself
    low: float | None  #: lower end of the interval of the difference, 95 % for all losses of the task together
    high: float | None  #: its upper end
    p_corrected: float | None  #: two-sided p of the sign-flip test, multiplied by the number of losses compared
    verdict: str  #: baseline, better, worse, no difference shown, too few seeds, not judged, failed, baseline failed
    calibration: float | None
    learning_rate: float | None
    seconds: float | None  #: training time over all seeds
    reason: str | None  #: of the first failure

    def numbers(self, plus_minus: str) -> tuple[str, str, str, str]:
        """Return mean with spread, difference, interval and corrected p-value as text, empty where missing.

        Too few seeds for an interval have no p-value either; the third text then says so.
        """
        return (
            with_deviation(self.mean, self.std, self.seeds, plus_minus),
            signed(self.difference),
            self.interval,
            "" if self.p_corrected is None or self.low is None else f"{self.p_corrected:.3g}",
        )


class ComparisonTable:
    """The lines of a comparison, and the measurements that they follow from.

    ``measure`` defaults to the metric of each task.
    """

    def __init__(self, measurements: Iterable[Measurement], baseline: str, measure: str | None = None) -> None:
        self.measurements = list(measurements)
        self.lines = comparison_lines(self.measurements, baseline, measure)

    def of_task(self, task: str) -> list[Line]:
        """Return the lines of one task, best loss first."""
        return [line for line in self.lines if line.task == task]

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order of their measurements."""
        return list(dict.fromkeys(line.task for line in self.lines))

    def confusion_matrix(self, task: str, loss: str) -> NDArray[np.int64]:
        """Return the counts over all seeds, [classes, classes]: true classes in rows, predicted classes in columns.

        Raises KeyError where there are none, as for verification of pairs.
        """
        confusions = [
            measurement.confusion
            for measurement in self.measurements
            if (measurement.task, measurement.loss) == (task, loss) and measurement.confusion
        ]
        if not confusions:
            raise KeyError(f"no confusion matrix of {loss} on {task}")
        counts = np.sum(np.asarray(confusions, np.int64), 0)
        return counts.reshape(math.isqrt(len(counts)), -1)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the lines as plain data."""
        return [asdict(line) for line in self.lines]

    def to_pandas(self) -> Any:
        """Return the lines as a pandas data frame. Raises ImportError where pandas is not installed."""
        from lossearch.results.storage.tables import to_pandas

        return to_pandas(Line, self.lines)

    def as_markdown(self) -> str:
        """Return a Markdown table for each task."""
        return as_markdown(self.lines)

    def write(self, path: Path) -> None:
        """Write the lines as a Parquet file."""
        from lossearch.results.storage.tables import write_records

        write_records(path, Line, self.lines)


def comparison_lines(measurements: Iterable[Measurement], baseline: str, measure: str | None = None) -> list[Line]:
    """Compute the lines of every task, best loss first. ``measure`` defaults to the metric of each task."""
    by_task: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_task.setdefault(measurement.task, []).append(measurement)
    return [line for group in by_task.values() for line in _task_lines(group, baseline, measure)]


def _task_lines(measurements: Sequence[Measurement], baseline: str, measure: str | None) -> list[Line]:
    name = measure or next(measurement.measure for measurement in measurements if measurement.measure in METRICS)
    if not any(measurement.measure == name for measurement in measurements):
        return []
    groups: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        if measurement.measure == name or measurement.value is None:
            groups.setdefault(measurement.loss, []).append(measurement)
    baseline_group = groups.get(baseline, [])
    is_sound = bool(baseline_group) and all(measurement.value is not None for measurement in baseline_group)
    sign = DIRECTIONS.get(name, 0)
    tests = _tests_against(baseline, groups) if is_sound else {}
    lines = [_line(name, group, tests.get(loss), sign) for loss, group in groups.items()]
    lines = [_with_status(line, baseline, is_sound) for line in lines]
    return sorted(lines, key=lambda line: (line.mean is None, -(sign or 1) * (line.mean or 0.0), line.loss))


def _values_by_seed(group: Iterable[Measurement]) -> dict[int, float]:
    return {measurement.seed: measurement.value for measurement in group if measurement.value is not None}


def _tests_against(baseline: str, groups: Mapping[str, Sequence[Measurement]]) -> dict[str, PairedTest]:
    """Test each loss against the baseline. One that failed, or shares no seed with the baseline, has no test."""
    of_baseline = _values_by_seed(groups[baseline])
    differences = {
        loss: paired_differences(_values_by_seed(group), of_baseline)
        for loss, group in groups.items()
        if loss != baseline and all(measurement.value is not None for measurement in group)
    }
    usable = {loss: values for loss, values in differences.items() if values}
    return {loss: paired_test(values, len(usable)) for loss, values in usable.items()}


def _line(name: str, group: Sequence[Measurement], test: PairedTest | None, sign: int) -> Line:
    """Describe one loss. ``sign`` is 1 where more of the measure is better, -1 where less is, 0 where neither is."""
    values, first = _values_by_seed(group), group[0]
    failures = [measurement for measurement in group if measurement.value is None]
    finished = list(values.values()) if values and not failures else []
    return Line(
        task=first.task,
        measure=name,
        split=first.split,
        loss=first.loss,
        formula=first.formula,
        fidelity=first.fidelity,
        seeds=len(values),
        failed=len({failure.seed for failure in failures}),
        mean=mean(finished) if finished else None,
        std=spread(finished),
        difference=None if test is None else test.difference,
        low=None if test is None else test.low,
        high=None if test is None else test.high,
        p_corrected=None if test is None else test.p,
        verdict="too few seeds" if test is None else _judge(test, sign),
        calibration=first.calibration,
        learning_rate=first.learning_rate,
        seconds=sum({measurement.seed: measurement.seconds or 0.0 for measurement in group}.values()),
        reason=failures[0].reason if failures else None,
    )


def _judge(test: PairedTest, sign: int) -> str:
    if sign == 0:
        return "not judged"
    swapped = {"better": "worse", "worse": "better"}
    return test.verdict if sign > 0 else swapped.get(test.verdict, test.verdict)


def _with_status(line: Line, baseline: str, is_sound: bool) -> Line:
    """Replace the verdict of the baseline, of a loss that failed, and of every loss beside a baseline that failed."""
    if line.failed:
        return replace(line, verdict="failed")
    if line.loss == baseline:
        return replace(line, verdict="baseline")
    return line if is_sound else replace(line, verdict="baseline failed")


def scope_note(lines: Iterable[Line]) -> str | None:
    """Say for how many losses the intervals of the tables hold together; None if none has two."""
    compared = Counter(line.task for line in lines if line.low is not None)
    if max(compared.values(), default=0) < 2:
        return None
    numbers = sorted(set(compared.values()))
    losses = " or ".join(str(number) for number in numbers)
    return f"Intervals and p-values hold for all {losses} losses of a table together."


def why_no_winner(lines: Sequence[Line]) -> str | None:
    """Say why no winner is called, if the seeds are too few or the baseline failed."""
    short = [line.task for line in lines if line.verdict == "too few seeds"]
    if any(line.verdict == "baseline failed" for line in lines):
        return "No winner is called on a task where the baseline failed."
    if not short:
        return None
    losses = max(sum(line.task == task and line.difference is not None for line in lines) for task in set(short))
    least = fewest_pairs(losses)
    return (
        f"No winner is called with fewer than {least} seeds among {counted(losses, 'loss', 'losses')} beside the "
        f"baseline: even a loss that wins under every seed could have won by chance. Take {least} seeds or more."
    )


def failure_reasons(lines: Iterable[Line]) -> list[str]:
    """Say why each loss failed that did, one sentence for each loss and task."""
    return [f"{line.loss} failed on {line.task}: {line.reason}." for line in lines if line.failed and line.reason]


def as_markdown(lines: Sequence[Line], level: int = 2) -> str:
    """Return a heading of this level and a table for each task. Names and reasons are shown as code."""
    parts = []
    for task in dict.fromkeys(line.task for line in lines):
        task_lines = [line for line in lines if line.task == task]
        head, seeds = task_lines[0], max(line.seeds for line in task_lines)
        parts += [
            f"{'#' * level} {code(task)}: {code(head.measure)} on the {head.split} split",
            "",
            " ".join(
                filter(None, (f"{_training_text(task_lines)}, {counted(seeds, 'seed')}.", scope_note(task_lines)))
            ),
            "",
            "| loss | mean ± std | difference to the baseline | 95 % interval | p | verdict | learning rate |",
            "|---|---|---|---|---|---|---|",
            *(_markdown_row(line) for line in task_lines),
            "",
        ]
    return "\n".join(parts)


def _training_text(lines: Sequence[Line]) -> str:
    """Name the training if all losses share one."""
    labels = {line.fidelity for line in lines}
    return f"Trained as {code(labels.pop())}" if len(labels) == 1 else "Each trained at the learning rate that suits it"


def _markdown_row(line: Line) -> str:
    rate = "" if line.learning_rate is None else f"{line.learning_rate:.3g}"
    outcome = line.verdict if line.mean is not None else f"{line.verdict}: {code(line.reason or '')}"
    return f"| {' | '.join((code(line.loss), *line.numbers(' ± '), outcome, rate))} |"
