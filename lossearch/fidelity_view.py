"""The view of a study of proxies in a terminal, or as plain text where the output is none."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lossearch.results.findings.proxies import COLUMNS, ProxyLine, cells, heading
from lossearch.results.plain_text import printable


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
