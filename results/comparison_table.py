"""Comparison table: one line a loss and task, from measurements: mean, paired difference to a baseline, verdict.

Always rebuildable from the measurements. P-values are corrected by Holm over the losses of a task's table.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.paired_tests import fewest_pairs, holm, paired_test, verdict
from results.records import METRICS, Measurement
from results.statistics import mean, paired_differences, spread

#: Measures of which less is better; a verdict takes that into account.
SMALLER_IS_BETTER = frozenset({"calibration error", "equal error rate", "intra-class distance"})


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
    failed: int  #: trainings that were not
    mean: float | None  #: of the measure over the finished trainings
    std: float | None  #: standard deviation over them
    difference: float | None  #: mean of the paired differences to the baseline; null for the baseline itself
    low: float | None  #: 95 % BCa interval of the difference
    high: float | None
    p_wilcoxon: float | None  #: two-sided
    p_permutation: float | None  #: two-sided
    p_corrected: float | None  #: the Wilcoxon p by Holm over the losses of the task
    verdict: str  #: baseline, better, worse, no difference shown, too few seeds, or failed
    calibration: float | None
    learning_rate: float | None
    seconds: float | None  #: of training, over all seeds
    reason: str | None  #: of the first failure


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
        from results.store import to_pandas

        return to_pandas(Line, self.lines)

    def as_markdown(self) -> str:
        """A Markdown table for each task."""
        from results.comparison_markdown import as_markdown

        return as_markdown(self.lines)

    def write(self, path: Path) -> None:
        """Write the lines as a Parquet file."""
        from results.store import write_records

        write_records(path, Line, self.lines)


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
    theirs = _by_seed(groups.get(baseline, []))
    lines = [_line(name, group, loss == baseline, theirs) for loss, group in groups.items()]
    sign = -1.0 if name in SMALLER_IS_BETTER else 1.0
    lines = _with_verdicts(lines, {loss: paired_differences(_by_seed(g), theirs) for loss, g in groups.items()}, sign)
    return sorted(lines, key=lambda line: (line.mean is None, -sign * (line.mean or 0.0), line.loss))


def _by_seed(group: Iterable[Measurement]) -> dict[int, float]:
    return {each.seed: each.value for each in group if each.value is not None}


def _line(name: str, group: Sequence[Measurement], is_baseline: bool, theirs: Mapping[int, float]) -> Line:
    own = _by_seed(group)
    failures = [each for each in group if each.value is None]
    first = group[0]
    differences = [] if is_baseline or failures else paired_differences(own, theirs)
    test = paired_test(differences) if differences else None
    return Line(
        task=first.task,
        measure=name,
        split=first.split,
        loss=first.loss,
        formula=first.formula,
        fidelity=first.fidelity,
        seeds=len(own),
        failed=len({each.seed for each in failures}),
        mean=mean(own.values()) if own and not failures else None,
        std=spread(own.values()) if own and not failures else None,
        difference=None if test is None else test.difference,
        low=None if test is None else test.low,
        high=None if test is None else test.high,
        p_wilcoxon=None if test is None else test.p_wilcoxon,
        p_permutation=None if test is None else test.p_permutation,
        p_corrected=None,
        verdict="failed" if failures else "baseline" if is_baseline else "too few seeds",
        calibration=first.calibration,
        learning_rate=first.learning_rate,
        seconds=sum({each.seed: each.seconds or 0.0 for each in group}.values()),
        reason=failures[0].reason if failures else None,
    )


def _with_verdicts(lines: Sequence[Line], differences: Mapping[str, list[float]], sign: float) -> list[Line]:
    """The lines with p-values corrected over all of them that have one."""
    tested = [line for line in lines if line.p_wilcoxon is not None]
    corrected = dict(
        zip((line.loss for line in tested), holm([line.p_wilcoxon or 0.0 for line in tested]), strict=True)
    )
    found = []
    for line in lines:
        if line.loss in corrected:
            test = paired_test([sign * each for each in differences[line.loss]])
            said = verdict(test, corrected[line.loss], len(tested))
            line = replace(line, p_corrected=corrected[line.loss], verdict=said)
        found.append(line)
    return found


def why_no_winner(lines: Sequence[Line]) -> str | None:
    """Why no winner is called, where that is for want of seeds."""
    short = [line.task for line in lines if line.verdict == "too few seeds"]
    if not short:
        return None
    losses = max(sum(line.task == task and line.difference is not None for line in lines) for task in set(short))
    least = fewest_pairs(losses)
    return (
        f"No winner is called with fewer than {least} seeds among {losses} losses beside the baseline: even for a loss "
        "that wins under every seed, Wilcoxon's two-sided p, corrected for so many by Holm, would not fall below "
        f"0.05. Take {least} or more."
    )
