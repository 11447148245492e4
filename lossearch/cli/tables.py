"""tables."""

import re
from collections.abc import Sequence

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossearch.results.findings.comparison import Line
from lossearch.results.findings.explanation import Explanation
from lossearch.results.findings.explanation_text import Section, sections
from lossearch.results.findings.explanation_text import Table as ExplanationTable
from lossearch.results.findings.proxies import COLUMNS, ProxyLine, cells, heading
from lossearch.results.findings.table_text import interval_text, signed
from lossearch.results.findings.tuned_losses import TunedLoss
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.plain_text import printable
from lossearch.results.ranking.row import Row
from lossearch.results.ranking.rows import known_losses
from lossearch.results.records import BASELINE

#: Characters of a formula that a table shows at most.
LONGEST_FORMULA = 160


def leaderboard_table(
    rows: Sequence[Row], top: int, known: bool = False, narrow: bool = False, beside: bool = True
) -> Table:
    """The first rows, and ``beside`` them cross-entropy's wherever it stands; with ``known`` those of all known losses.

    ``narrow`` leaves out what a small terminal has no room for.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [row for row in rows[:top] if row.rank is not None]
    if beside:
        more = [row for row in known_losses(rows) if row.rank is not None and (known or row.name == BASELINE)]
        shown = sorted({row.rank: row for row in (*shown, *more)}.values(), key=lambda row: row.rank or 0)
    metric = rows[0].metric if rows else "accuracy"
    with_intervals = not narrow and any(row.difference_high is not None for row in shown)
    difference = "to CE, 95 %" if with_intervals else "to CE"
    for name in ("rank", metric, difference) if narrow else ("rank", metric, difference, "size"):
        table.add_column(name, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("born", no_wrap=True)
    table.add_column("formula", overflow="fold", ratio=1)
    for row in shown:
        cells = [Text(printable(cell)) for cell in _cells(row, narrow)]
        table.add_row(*cells, style="bold" if row.name == BASELINE else None)
    return table


def _cells(row: Row, narrow: bool) -> Sequence[str]:
    rank = f"{'*' if row.pareto else ' '}{row.rank}"
    if narrow:
        return rank, f"{row.fitness_mean:.4f}", to_cross_entropy(row, with_interval=False), shortened(row.formula)
    spread = "" if row.fitness_std is None else f" ±{row.fitness_std:.4f}"
    born = row.name if row.name else f"{row.birth} g{row.generation}"
    return (
        rank,
        f"{row.fitness_mean:.4f}{spread}",
        to_cross_entropy(row),
        str(row.complexity),
        born,
        shortened(row.formula),
    )


def shortened(formula: str, most: int = LONGEST_FORMULA) -> str:
    """The formula, or as much of both ends as there is room for, without parts of names and numbers.

    ``lossearch show`` has all of it.
    """
    if len(formula) <= most:
        return formula
    kept = most - 3
    head = re.sub(r"[\w.]*$", "", formula[: kept - kept // 3])
    tail = re.sub(r"^[\w.]*", "", formula[-(kept // 3) :])
    return f"{head.rstrip()} … {tail.lstrip()}"


def to_cross_entropy(row: Row, with_interval: bool = True) -> str:
    """The difference with its sign, and half of its interval's width where there is one; empty without a difference."""
    difference, high = row.difference_to_cross_entropy, row.difference_high
    if difference is None:
        return ""
    if not with_interval or high is None:
        return f"{difference:+.4f}"
    return f"{difference:+.4f} ±{high - difference:.4f}"


def comparison_table(lines: Sequence[Line], narrow: bool = False) -> Table:
    """The lines of one task. ``narrow`` leaves out what a small terminal has no room for."""
    head = lines[0]
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        title=Text(f"{printable(head.task)}: {printable(head.measure)} on the {head.split} split"),
        title_justify="left",
    )
    table.add_column("loss", overflow="fold", ratio=1)
    for name in ("mean", "to baseline", "95 % interval", "p (Holm)")[: 2 if narrow else 4]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in lines:
        cells = [Text(printable(cell)) for cell in _comparison_cells(line)]
        table.add_row(
            *(cells[:3] if narrow else cells[:5]), cells[5], style="bold" if line.verdict == "baseline" else None
        )
    return table


def _comparison_cells(line: Line) -> tuple[str, ...]:
    failed = f"failed under {line.failed} of {line.failed + line.seeds} seeds"
    return line.loss, *line.numbers(" ±"), failed if line.mean is None else line.verdict


# --- What a person sees of tuning and of verdicts in a terminal.

#: Baselines that a table of tuned losses shows: the best, and cross-entropy.
_SHOWN = 8


def tuned_table(losses: Sequence[TunedLoss], narrow: bool = False) -> Table:
    """The tuned losses of one task, best first: those that were found, and the best of the known ones."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "validation") if narrow else ("kind", "validation", "learning rate", "settings", "pruned"):
        table.add_column(name, justify="right" if name != "kind" else "left", no_wrap=True)
    table.add_column("loss", overflow="fold", ratio=1)
    ranked = sorted(losses, key=lambda each: -(each.value or 0.0))
    best = [each for each in ranked if each.kind == "baseline"][:_SHOWN]
    for each in ranked:
        if each.kind != "baseline" or each in best or each.loss == "cross_entropy":
            value = "failed" if each.value is None else f"{each.value:.4f}"
            rate = f"{each.settings_by_name().get('learning_rate', 0.0):.3g}"
            text = each.formula if each.kind != "baseline" else f"{each.loss}: {each.formula}"
            cells = [each.kind, value, *([] if narrow else [rate, str(each.trials), str(each.pruned)]), text]
            table.add_row(*(Text(printable(cell)) for cell in cells), style="bold" if each.kind == "found" else None)
    return table


def verdict_table(lines: Sequence[Verdict], narrow: bool = False) -> Table:
    """The verdicts of one scene."""
    head = lines[0]
    seeds = max(each.seeds for each in lines)
    title = f"{head.scene}: {head.task}, {head.measure} on the test split, {seeds} fresh seeds"
    table = Table(box=None, pad_edge=False, header_style="bold", title=Text(printable(title)), title_justify="left")
    table.add_column("loss", overflow="fold", ratio=1)
    for name in ("mean", "to best known") if narrow else ("mean", "to best known", "95 % interval", "p", "to random"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for line in lines:
        cells = [line.formula, "" if line.mean is None else f"{line.mean:.4f}", signed(line.difference)]
        if not narrow:
            cells += [interval_text(line.low, line.high), "" if line.p is None else f"{line.p:.2g}"]
            cells.append(signed(line.random_difference))
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(printable(line.verdict), style="bold"))
    return table


# --- The view of a study of proxies in a terminal, or as plain text where the output is none.


def proxy_table(lines: Sequence[ProxyLine], narrow: bool = False) -> Table:
    """The lines of one task; the proxy that is chosen stands out. ``narrow`` leaves out what has little room."""
    table = Table(
        box=None, pad_edge=False, header_style="bold", title=Text(printable(heading(lines))), title_justify="left"
    )
    left_out = {"95 % interval", "candidates"} if narrow else set()
    for name in COLUMNS:
        if name not in left_out:
            table.add_column(name, justify="left" if name in ("proxy", "") else "right", no_wrap=True)
    for line in lines:
        shown = [cell for name, cell in zip(COLUMNS, cells(line), strict=True) if name not in left_out]
        table.add_row(*map(Text, shown), style="bold" if line.cheapest else None)
    return table


# --- The view of an explanation in a terminal, or as plain text where the output is none.

#: Columns that hold formulas, which are folded and not cut.
_FOLDED = {"left out", "what is left", "loss"}


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print what is known of a loss, section after section."""
    for section in sections(explanation, printable):
        console.print(_shown(section))


def _shown(section: Section) -> Group:
    parts: list[Text | Padding | Table] = [Text(section.title, style="bold")]
    parts += [Text(each) for each in section.sentences]
    for table in section.tables:
        parts.append(Padding(_table(table), (1, 0)))
    parts += [Text(f"- {each}") for each in section.conclusions]
    return Group(*parts, Text(""))


def _table(table: ExplanationTable) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold", title=Text(table.caption), title_justify="left")
    for name in table.columns:
        shown.add_column(
            name,
            justify="left" if name in _FOLDED or name in ("verdict", "task", "at") else "right",
            overflow="fold" if name in _FOLDED else "ellipsis",
            no_wrap=name not in _FOLDED,
        )
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown
