"""The verdicts of a run as a table: Parquet, Markdown, plain data."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lossearch.results.findings.comparison import code
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.storage.atomic import write_whole_text

FILE = "verdicts.parquet"


class VerdictTable:
    """Verdicts of a run's losses, scene by scene."""

    def __init__(self, lines: Iterable[Verdict]) -> None:
        self.lines = list(lines)

    def __repr__(self) -> str:
        return f"<VerdictTable: {len(self.lines)} verdicts>"

    def _repr_html_(self) -> str:
        from lossearch.results.plain_text import html_table

        head = ("loss", "scene", "task", "mean", "to the best known", "low", "high", "p", "verdict")
        lines = [
            (each.formula, each.scene, each.task, each.mean, each.difference, each.low, each.high, each.p, each.verdict)
            for each in self.lines
        ]
        return html_table(head, lines)

    def of_loss(self, rank: int | None, formula: str) -> list[Verdict]:
        """What was said of a loss of the search's leaderboard, in every scene."""
        return [each for each in self.lines if each.rank == rank and each.loss.partition(" [")[0] == formula]

    @property
    def scenes(self) -> list[tuple[str, str]]:
        """The name and the task of each scene, in the order judged."""
        return list(dict.fromkeys((each.scene, each.task) for each in self.lines))

    def of_scene(self, scene: tuple[str, str]) -> list[Verdict]:
        """The verdicts of one scene."""
        return [each for each in self.lines if (each.scene, each.task) == scene]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The verdicts as plain data."""
        return [asdict(each) for each in self.lines]

    def to_pandas(self) -> Any:
        """The verdicts as a pandas data frame. Raises ImportError where pandas is not installed."""
        from lossearch.results.storage.tables import to_pandas

        return to_pandas(Verdict, self.lines)

    def as_markdown(self, level: int = 2) -> str:
        """A heading of this level and a table for each scene. Text of others stands as code."""
        parts = []
        for scene in self.scenes:
            own = self.of_scene(scene)
            head = own[0]
            seeds, baselines = max(each.seeds for each in own), max(each.baselines for each in own)
            parts += [
                f"{'#' * level} {head.scene}: {code(head.task)}",
                "",
                f"{head.measure} on the test split under {seeds} fresh seeds, beside {baselines} known "
                f"losses tuned with the same budget. {chosen_from(head)}",
                "",
                "| loss | mean | best known loss | difference | 95 % interval | on other samples | p | verdict | "
                "to random search |",
                "|---|---|---|---|---|---|---|---|---|",
                *(f"| {' | '.join(_cells(each))} |" for each in own),
                "",
            ]
        return "\n".join(parts)

    def write(self, folder: Path) -> None:
        """Write ``verdicts.parquet`` and ``verdicts.md``."""
        from lossearch.results.storage.tables import write_records

        write_records(folder / FILE, Verdict, self.lines)
        write_whole_text(folder / "verdicts.md", self.as_markdown())


def read_verdicts(folder: Path) -> VerdictTable | None:
    """The verdicts in a folder; None where there are none. Raises DamagedFile, NewerFile."""
    from lossearch.results.storage.tables import read_records

    path = folder / FILE
    return VerdictTable(read_records(path, Verdict)) if path.exists() else None


def chosen_from(line: Verdict) -> str:
    """The winner's curse, in a sentence."""
    return (
        f"Each was chosen from {line.chosen_from:,} candidates on the validation split, which flatters it there; these "
        "seeds and this split had no part in the choice."
    )


def interval_text(low: float | None, high: float | None) -> str:
    """An interval as text, empty where there is none."""
    return "" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"


def signed(value: float | None) -> str:
    """A difference as text, empty where there is none."""
    return "" if value is None else f"{value:+.4f}"


def _cells(line: Verdict) -> tuple[str, ...]:
    closest = "" if line.closest is None else f"{code(line.closest)} {line.closest_mean:.4f}"
    at_random = f"{signed(line.random_difference)} ({interval_text(line.random_low, line.random_high)})"
    return (
        code(line.formula),
        "" if line.mean is None else f"{line.mean:.4f}",
        closest,
        signed(line.difference),
        interval_text(line.low, line.high),
        interval_text(line.low_on_other_samples, line.high_on_other_samples),
        "" if line.p is None else f"{line.p:.2g}",
        f"{line.verdict}: {code(line.why)}" if line.verdict == "failed" else f"{line.verdict}: {line.why}",
        "" if line.random_difference is None else at_random,
    )


# --- The verdicts on one loss as a section of its model card.


def judged(verdicts: Sequence[Verdict]) -> str:
    """What may be said of the loss, scene by scene. Text of a run stands as code."""
    head = verdicts[0]
    lines = [
        "## Verdict",
        "",
        f"With the numbers that tuning chose, {code(head.formula)}, on the test split under fresh seeds, beside known "
        f"losses that were tuned with the same budget. {chosen_from(head)}",
        "",
        *(f"- {_sentence(each)}" for each in verdicts),
    ]
    return "\n".join(lines)


def _sentence(line: Verdict) -> str:
    """The verdict of one scene."""
    beside = f"{line.seeds} seeds, {line.baselines} known losses"
    said = f"{line.scene}, {code(line.task)}, {code(line.fidelity)}, {beside}: **{line.verdict}**; {code(line.why)}."
    if line.closest is not None and line.difference is not None:
        said += (
            f" To the best known loss there, {code(line.closest)}: {signed(line.difference)}, 95 % interval "
            f"{interval_text(line.low, line.high)}"
        )
        other = interval_text(line.low_on_other_samples, line.high_on_other_samples)
        said += f" over seeds, {other} over seeds and samples." if other else " over seeds."
    if line.random_difference is not None:
        at_random = interval_text(line.random_low, line.random_high)
        said += f" To the best of a random search: {signed(line.random_difference)} ({at_random})."
    return said
