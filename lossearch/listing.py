"""Lists of the known losses and tasks: ``lossearch.losses()`` and ``lossearch.tasks()``."""

from collections.abc import Iterable
from typing import Any

from lossearch.primitives.arguments import refuse_unknown_arguments
from lossearch.results.plain_text import html_table


class Listing(list[dict[str, Any]]):
    """A list of dictionaries, as ``--json`` prints it, that shows itself as a table of some of their keys."""

    def __init__(self, entries: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> None:
        super().__init__(entries)
        self._columns = columns

    def __repr__(self) -> str:
        cells = [self._columns, *(tuple(str(entry[name]) for name in self._columns) for entry in self)]
        widths = [max(len(row[place]) for row in cells) for place in range(len(self._columns))]
        lines = ("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)) for row in cells)
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        return html_table(self._columns, ([entry[name] for name in self._columns] for entry in self))


@refuse_unknown_arguments
def losses() -> Listing:
    """List the known losses: name, formula, hyperparameters, class_weights, source, origin, aliases of each.

    ``hyperparameters`` are dictionaries with name, default, low and high. Imports no torch.
    """
    from lossearch.primitives.catalog import CATALOG

    return Listing((loss.describe() for loss in CATALOG.values()), ("name", "formula", "origin"))


@refuse_unknown_arguments
def tasks() -> Listing:
    """List the known tasks: name, family, summary, classes, shape, metric, needs_download and more of each.

    Imports no torch.
    """
    from lossearch.evaluators.tasks import TASKS

    return Listing((task.describe() for task in TASKS.values()), ("name", "family", "classes", "summary"))
