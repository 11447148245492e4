"""Comparison table: the lines of a comparison, always rebuildable from its measurements."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossearch.results.comparison_lines import Line, comparison_lines
from lossearch.results.paired_tests import fewest_pairs
from lossearch.results.records import Measurement


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
        from lossearch.results.record_tables import to_pandas

        return to_pandas(Line, self.lines)

    def as_markdown(self) -> str:
        """A Markdown table for each task."""
        from lossearch.results.comparison_markdown import as_markdown

        return as_markdown(self.lines)

    def write(self, path: Path) -> None:
        """Write the lines as a Parquet file."""
        from lossearch.results.record_tables import write_records

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
