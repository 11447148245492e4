"""The view of an explanation in a terminal, or as plain text where the output is none."""

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from lossearch.results.findings.explanation import Explanation
from lossearch.results.findings.explanation_text import Section, Table, sections
from lossearch.results.plain_text import printable

#: Columns that hold formulas, which are folded and not cut.
_FOLDED = {"left out", "what is left", "loss"}


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print what is known of a loss, section after section."""
    for section in sections(explanation, printable):
        console.print(_shown(section))


def _shown(section: Section) -> Group:
    parts: list[Text | Padding | RichTable] = [Text(section.title, style="bold")]
    parts += [Text(each) for each in section.sentences]
    for table in section.tables:
        parts.append(Padding(_table(table), (1, 0)))
    parts += [Text(f"- {each}") for each in section.conclusions]
    return Group(*parts, Text(""))


def _table(table: Table) -> RichTable:
    shown = RichTable(box=None, pad_edge=False, header_style="bold", title=Text(table.caption), title_justify="left")
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
