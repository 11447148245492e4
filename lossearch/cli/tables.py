"""Tables that commands print, one function each. ``narrow`` leaves out columns that a small terminal cannot show."""

import re
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossearch.results.findings.comparison import Line
from lossearch.results.findings.explanation import Explanation
from lossearch.results.findings.explanation_text import Section, sections
from lossearch.results.findings.explanation_text import Table as ExplanationTable
from lossearch.results.findings.proxies import COLUMNS, ProxyLine, cells, heading
from lossearch.results.findings.table_text import signed, with_deviation
from lossearch.results.findings.tuned_losses import TunedLoss
from lossearch.results.findings.verdicts import Verdict
from lossearch.results.plain_text import printable
from lossearch.results.ranking.row import Row
from lossearch.results.ranking.rows import known_losses
from lossearch.results.records import BASELINE, takes_embeddings

#: Most characters of a formula in a table.
LONGEST_FORMULA = 160

#: Mark of a loss over embeddings in a table.
EMBEDDING_MARK = "e"
#: Most lines of a formula in a table, and fewest characters of a line.
MAX_LINES, SHORTEST_LINE = 3, 16

#: Most characters of a name in a table on a terminal of less than so many columns.
SHORT_NAME, WIDE = 16, 100

#: Columns that hold formulas: they are wrapped at operators.
_FORMULAS = {"formula", "loss"}

#: Pieces of a formula, which a line ends with: up to an operator, or if that is too long a name or a number.
_PIECES, _SMALL_PIECES = re.compile(r"[^\s*/,]*(?:\*\*|[*/,\s])\s*|[^\s*/,]+"), re.compile(r"[\w.]+\(?|\*\*|\s+|.")

#: Most baselines in a table of tuned losses, besides cross-entropy.
MAX_BASELINES = 8

#: Columns of an explanation that hold formulas: they are folded, not cut.
_FOLDED = {"left out", "what is left", "loss"}


def leaderboard_table(
    rows: Sequence[Row],
    top: int,
    known: bool = False,
    narrow: bool = False,
    beside: bool = True,
    width: int | None = None,
) -> Table:
    """Make a table of the first rows.

    ``beside`` adds cross-entropy's row whatever its rank; ``known`` with it adds the rows of all known losses.
    ``width`` is the number of columns of the terminal.
    """
    chosen = shown_rows(rows, top, known, beside)
    metric = rows[0].metric if rows else "accuracy"
    has_intervals = not narrow and any(row.difference_high is not None for row in chosen)
    difference = "to CE, 95 %" if has_intervals else "to CE"
    table = _make_table()
    for name in ("rank", metric, difference) if narrow else ("rank", metric, difference, "size"):
        table.add_column(name, justify="right", no_wrap=True)
    if not narrow:
        is_short = width is not None and width < WIDE
        table.add_column("born", no_wrap=True, overflow="ellipsis", max_width=SHORT_NAME if is_short else None)
    has_marks = any(row.over_embeddings for row in chosen)
    if has_marks:
        table.add_column("", no_wrap=True)
    table.add_column("formula", overflow="fold", ratio=1)
    for row in chosen:
        marks = [_mark(row.over_embeddings)] if has_marks else []
        cells = [*_format_cells(row, narrow), *marks, shortened(row.formula)]
        _add_row(table, cells, is_bold=row.name == BASELINE)
    return table


def shown_rows(rows: Sequence[Row], top: int, known: bool = False, beside: bool = True) -> list[Row]:
    """Return the rows of the table that these options ask for."""
    chosen = [row for row in rows[:top] if row.rank is not None]
    if beside:
        more = [row for row in known_losses(rows) if row.rank is not None and (known or row.name == BASELINE)]
        chosen = sorted({row.rank: row for row in (*chosen, *more)}.values(), key=lambda row: row.rank or 0)
    return chosen


def _format_cells(row: Row, narrow: bool) -> Sequence[str]:
    """Return the cells of a row before its formula."""
    rank = f"{'*' if row.pareto else ' '}{row.rank}"
    if narrow:
        return rank, f"{row.fitness_mean:.4f}", to_cross_entropy(row, with_interval=False)
    fitness = with_deviation(row.fitness_mean, row.fitness_std, row.seeds, " ±")
    born = row.name if row.name else f"{row.birth} g{row.generation}"
    return rank, fitness, to_cross_entropy(row), str(row.complexity), born


def _mark(over_embeddings: bool) -> str:
    return EMBEDDING_MARK if over_embeddings else ""


def legend(marks: Iterable[bool], pareto: bool = False) -> str | None:
    """Explain the marks of a table: ``marks`` is True for each loss over embeddings. None if there is no mark.

    ``pareto`` is True for a leaderboard, which marks its front and labels generations.
    """
    parts = ["* is on the Pareto front", "g0 is the first generation"] if pareto else []
    if any(marks):
        parts.append(f"{EMBEDDING_MARK} takes embeddings and owns the weights of the last layer")
    return "; ".join(parts) or None


def shortened(formula: str, most: int = LONGEST_FORMULA) -> str:
    """Return the formula, or if it is too long its two ends, without cutting names and numbers apart.

    ``lossearch show`` prints all of it.
    """
    if len(formula) <= most:
        return formula
    length = most - 3
    head = re.sub(r"[\w.]*$", "", formula[: length - length // 3])
    tail = re.sub(r"^[\w.]*", "", formula[-(length // 3) :])
    return f"{head.rstrip()} … {tail.lstrip()}"


def to_cross_entropy(row: Row, with_interval: bool = True) -> str:
    """Return the signed difference to cross-entropy and half of its interval's width; empty without a difference."""
    difference, high = row.difference_to_cross_entropy, row.difference_high
    if difference is None:
        return ""
    if not with_interval or high is None:
        return f"{difference:+.4f}"
    return f"{difference:+.4f} ±{high - difference:.4f}"


def comparison_table(lines: Sequence[Line], narrow: bool = False) -> Table:
    """Make the table of a comparison on one task."""
    head = lines[0]
    table = _make_table(f"{printable(head.task)}: {printable(head.measure)} on the {head.split} split")
    table.add_column("loss", overflow="fold", ratio=1)
    for name in ("mean", "to baseline", "95 % interval", "p")[: 2 if narrow else 4]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for line in lines:
        failed = f"failed under {line.failed} of {line.failed + line.seeds} seeds"
        numbers = line.numbers(" ±")[: 2 if narrow else 4]
        verdict = failed if line.mean is None else line.verdict
        _add_row(table, [line.loss, *numbers, verdict], is_bold=line.verdict == "baseline")
    return table


def tuned_table(losses: Sequence[TunedLoss], narrow: bool = False) -> Table:
    """Make the table of the tuned losses of one task, best first: all that were found, and the best baselines."""
    table = _make_table()
    for name in ("kind", "validation") if narrow else ("kind", "validation", "learning rate", "settings", "pruned"):
        table.add_column(name, justify="right" if name != "kind" else "left", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("loss", overflow="fold", ratio=1)
    ranked = sorted(losses, key=lambda loss: -(loss.value or 0.0))
    best_baselines = [loss for loss in ranked if loss.kind == "baseline"][:MAX_BASELINES]
    for loss in ranked:
        if loss.kind != "baseline" or loss in best_baselines or loss.loss == BASELINE:
            value = "failed" if loss.value is None else f"{loss.value:.4f}"
            rate = f"{loss.settings_by_name().get('learning_rate', 0.0):.3g}"
            text = loss.formula if loss.kind != "baseline" else f"{loss.loss}: {loss.formula}"
            more = [] if narrow else [rate, str(loss.trials), str(loss.pruned)]
            mark = _mark(takes_embeddings(loss.formula))
            _add_row(table, [loss.kind, value, *more, mark, text], is_bold=loss.kind == "found")
    return table


def verdict_table(lines: Sequence[Verdict], narrow: bool = False) -> Table:
    """Make the table of the verdicts in one scene."""
    head = lines[0]
    seeds = max(line.seeds for line in lines)
    table = _make_table(printable(f"{head.scene}: {head.task}, {head.measure} on the test split, {seeds} fresh seeds"))
    table.add_column("", no_wrap=True)
    table.add_column("loss", overflow="fold", ratio=1)
    for name in ("mean", "to best known") if narrow else ("mean", "to best known", "95 % interval", "p", "to random"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for line in lines:
        mark, mean = _mark(takes_embeddings(line.formula)), "" if line.mean is None else f"{line.mean:.4f}"
        texts = [mark, line.formula, mean, signed(line.difference)]
        if not narrow:
            p = "" if line.p is None else f"{line.p:.2g}"
            texts += [line.interval, p, signed(line.random_difference)]
        table.add_row(*_make_cells(table, texts), Text(printable(line.verdict), style="bold"))
    return table


def proxy_table(lines: Sequence[ProxyLine], narrow: bool = False) -> Table:
    """Make the table of the proxies of one task; the cheapest good one stands out."""
    table = _make_table(printable(heading(lines)))
    left_out = {"95 % interval", "candidates"} if narrow else set()
    for name in COLUMNS:
        if name not in left_out:
            table.add_column(name, justify="left" if name in ("proxy", "") else "right", no_wrap=True)
    for line in lines:
        texts = [text for name, text in zip(COLUMNS, cells(line), strict=True) if name not in left_out]
        _add_row(table, texts, is_bold=line.cheapest)
    return table


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print an explanation, section after section."""
    for section in sections(explanation, printable):
        console.print(_make_section(section))


def _make_section(section: Section) -> Group:
    parts: list[Text | Padding | Table] = [Text(section.title, style="bold")]
    parts += [Text(sentence) for sentence in section.sentences]
    parts += [Padding(_make_explanation_table(table), (1, 0)) for table in section.tables]
    parts += [Text(f"- {conclusion}") for conclusion in section.conclusions]
    return Group(*parts, Text(""))


def _make_explanation_table(content: ExplanationTable) -> Table:
    table = _make_table(content.caption)
    for name in content.columns:
        table.add_column(
            name,
            justify="left" if name in _FOLDED or name in ("verdict", "task", "at") else "right",
            overflow="fold" if name in _FOLDED else "ellipsis",
            no_wrap=name not in _FOLDED,
        )
    for row in content.rows:
        table.add_row(*map(Text, row))
    return table


def _make_table(title: str | None = None) -> Table:
    """Make a table without lines. Its title is shown as it is."""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.title = None if title is None else Text(title)
    return table


def _add_row(table: Table, texts: Sequence[str], is_bold: bool) -> None:
    """Add a row of texts, none of which is read as markup."""
    table.add_row(*_make_cells(table, texts), style="bold" if is_bold else None)


def _make_cells(table: Table, texts: Sequence[str]) -> list["Text | _FormulaCell"]:
    """Make the cells of a row. Formulas are wrapped at operators."""
    named = zip(table.columns, map(printable, texts), strict=False)
    return [_FormulaCell(text) if column.header in _FORMULAS else Text(text) for column, text in named]


class _FormulaCell:
    """A formula that is wrapped at operators, and shortened if it has too many lines."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(SHORTEST_LINE, len(self._text)), max(1, len(self._text))).clamp(1, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("\n".join(wrap_formula(self._text, options.max_width)), overflow="fold")


def wrap_formula(text: str, width: int, max_lines: int = MAX_LINES) -> list[str]:
    """Return a formula in lines of at most ``width`` characters, broken after operators and never within a name.

    One that has more lines is shortened in its middle.
    """
    lines = _break_lines(text, width)
    most = len(text)
    while len(lines) > max_lines and most > width:
        most = min(most - 1, max_lines * width) if most > max_lines * width else most - max(1, width // 8)
        lines = _break_lines(shortened(text, max(most, 8)), width)
    return lines[:max_lines] or [""]


def _break_lines(text: str, width: int) -> list[str]:
    lines = [""]
    pieces = _PIECES.findall(text)
    if max(map(len, pieces), default=0) > width:
        pieces = _SMALL_PIECES.findall(text)
    for piece in pieces:
        if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += piece if lines[-1] or not piece.isspace() or len(lines) == 1 else ""
    return [line.rstrip() for line in lines]
