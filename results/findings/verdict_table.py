"""Table of the verdicts of a run, written as Parquet, Markdown, plain data and a section of a model card."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lossearch.results.findings.table_text import code, counted, in_words, interval_of, rounded, signed
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.statistics.intervals import interval_text
from lossearch.results.storage.atomic import write_whole_text

FILE = "verdicts.parquet"


class VerdictTable:
    """The verdicts of a run's losses, scene by scene."""

    def __init__(self, lines: Iterable[Verdict]) -> None:
        self.lines = list(lines)

    def __repr__(self) -> str:
        return f"<VerdictTable: {len(self.lines)} verdicts>"

    def _repr_html_(self) -> str:
        from lossearch.results.plain_text import html_table

        head = ("loss", "scene", "task", "mean", "to the best known", "low", "high", "p", "verdict")
        rows = [
            (line.formula, line.scene, line.task, line.mean, line.difference, line.low, line.high, line.p, line.verdict)
            for line in self.lines
        ]
        return html_table(head, rows)

    @property
    def scenes(self) -> list[tuple[str, str]]:
        """The name and the task of each scene, in the order of judging."""
        return list(dict.fromkeys((line.scene, line.task) for line in self.lines))

    def of_scene(self, scene: tuple[str, str]) -> list[Verdict]:
        """Return the verdicts of one scene, which is named by its name and its task."""
        return [line for line in self.lines if (line.scene, line.task) == scene]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the verdicts as plain data."""
        return [asdict(line) for line in self.lines]

    def to_pandas(self) -> Any:
        """Return the verdicts as a pandas data frame. Raises ImportError where pandas is not installed."""
        from lossearch.results.storage.tables import to_pandas

        return to_pandas(Verdict, self.lines)

    def as_markdown(self, level: int = 2) -> str:
        """Return a heading of this level and a table for each scene. Text from the run is shown as code."""
        parts = []
        for scene in self.scenes:
            lines = self.of_scene(scene)
            head = lines[0]
            seeds, baselines = max(line.seeds for line in lines), max(line.baselines for line in lines)
            parts += [
                f"{'#' * level} {head.scene}: {code(head.task)}",
                "",
                f"{head.measure} on the test split under {counted(seeds, 'fresh seed')}, beside "
                f"{counted(baselines, 'known loss', 'known losses')} tuned with the same budget. "
                f"{selection_note(head)}",
                "",
                "| loss | mean | best known loss | difference | 95 % interval | on other samples | p | verdict | "
                "to random search |",
                "|---|---|---|---|---|---|---|---|---|",
                *(f"| {' | '.join(_cells(line))} |" for line in lines),
                "",
            ]
        return "\n".join(parts)

    def write(self, folder: Path) -> None:
        """Write ``verdicts.parquet`` and ``verdicts.md``."""
        from lossearch.results.storage.tables import write_records

        write_records(folder / FILE, Verdict, self.lines)
        write_whole_text(folder / "verdicts.md", self.as_markdown())


def read_verdicts(folder: Path) -> VerdictTable | None:
    """Read the verdicts in a folder; None where there are none. Raises DamagedFile, NewerFile."""
    from lossearch.results.storage.tables import read_records

    path = folder / FILE
    return VerdictTable(read_records(path, Verdict)) if path.exists() else None


def scene_folder(scene: str, task: str) -> str:
    """Return the name of the directory of a scene on a task."""
    return f"{scene} {task}".replace(" ", "_")


def selection_note(line: Verdict) -> str:
    """Warn that a loss chosen from many looks better on the split that chose it (the winner's curse)."""
    return (
        f"Each was chosen from {line.chosen_from:,} candidates on the validation split, which flatters it there; these "
        "seeds and this split had no part in the choice."
    )


def _cells(line: Verdict) -> tuple[str, ...]:
    closest = "" if line.closest is None else f"{code(line.closest)} {rounded(line.closest_mean)}"
    random_interval = interval_of(line.random_difference, line.random_low, line.random_high, line.seeds)
    to_random = f"{signed(line.random_difference)} ({random_interval})"
    return (
        code(line.formula),
        rounded(line.mean),
        closest,
        signed(line.difference),
        line.interval,
        interval_text(line.low_on_other_samples, line.high_on_other_samples),
        "" if line.p is None else f"{line.p:.2g}",
        f"{line.verdict}: {code(line.why) if line.verdict == 'failed' else line.why}",
        "" if line.random_difference is None else to_random,
    )


def card_section(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts on one loss as a section of its model card. Text from the run is shown as code."""
    head = verdicts[0]
    lines = [
        "## Verdict",
        "",
        f"With the numbers that tuning chose, {code(head.formula)}, on the test split under fresh seeds, beside known "
        f"losses that were tuned with the same budget. {selection_note(head)}",
        "",
        *(f"- {_sentence(verdict)}" for verdict in verdicts),
    ]
    return "\n".join(lines)


def _sentence(line: Verdict) -> str:
    budget = f"{counted(line.seeds, 'seed')}, {counted(line.baselines, 'known loss', 'known losses')}"
    text = f"{line.scene}, {code(line.task)}, {code(line.fidelity)}, {budget}: **{line.verdict}**; {code(line.why)}."
    if line.closest is not None and line.difference is not None:
        text += (
            f" Difference to the best known loss there, {code(line.closest)}: {signed(line.difference)}, "
            f"{in_words(line.interval)}"
        )
        with_samples = interval_text(line.low_on_other_samples, line.high_on_other_samples)
        text += f" over seeds, {with_samples} over seeds and samples." if with_samples else " over seeds."
    if line.random_difference is not None:
        interval = interval_of(line.random_difference, line.random_low, line.random_high, line.seeds)
        text += f" Difference to the best of a random search: {signed(line.random_difference)} ({interval})."
    return text
