"""What a notebook shows of tables: HTML in which text of a run is escaped."""

import html
from collections.abc import Iterable, Sequence

from lossearch.results.leaderboard_rows import Row

#: Rows that are shown.
SHOWN = 10


def html_table(head: Sequence[str], lines: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table of texts and numbers; a number has four digits."""
    heads = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in head)
    body = "".join(f"<tr>{_cells(line)}</tr>" for line in lines)
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{heads}</tr></thead>{body}</table>"


def leaderboard_html(rows: Sequence[Row], ranked: int, called: str) -> str:
    """The best rows of a leaderboard."""
    shown = [row for row in rows[:SHOWN] if row.rank is not None]
    metric = shown[0].metric if shown else "fitness"
    lines = [
        (
            f"{row.rank}{'*' if row.pareto else ''}",
            row.fitness_mean,
            row.difference_to_cross_entropy,
            row.complexity,
            row.name or f"{row.birth} g{row.generation}",
            row.formula,
        )
        for row in shown
    ]
    caption = f"{called}: the best {len(shown)} of {ranked} losses; * is on the Pareto front"
    return html_table(("rank", metric, "to cross-entropy", "size", "born", "formula"), lines, caption)


def _cells(line: Sequence[object]) -> str:
    return "".join(f"<td>{html.escape(_text(each))}</td>" for each in line)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
