"""Look of the figures: what each color means, symbols, dashes, axes and the common layout.

One color has one meaning in all figures of a report: see ``Role``. The colors are Okabe and Ito's, which most people
can tell apart, and each has a contrast of 3 to 1 to white and to black. A shape or a dash repeats what a color says.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from lossearch.results.records import BASELINE

__all__ = [
    "CLASS_COLORS",
    "CROSS_ENTROPY",
    "GRID",
    "KNOWN",
    "LAYOUT",
    "LOSS",
    "OTHER",
    "OUTCOMES",
    "SYMBOLS",
    "Figure",
    "Role",
    "label",
    "library",
    "log_axis",
    "role_of",
]


@dataclass(frozen=True)
class Role:
    """The look of one kind of loss in every figure."""

    color: str
    symbol: str
    dash: str


LOSS = Role("#0072B2", "star", "solid")  #: the loss that a section is about, and the best ones
CROSS_ENTROPY = Role("#D55E00", "diamond", "dash")
KNOWN = Role("#009E73", "square", "dot")  #: other known losses
OTHER = Role("#808080", "circle", "dashdot")  #: other losses of the search

#: Colors and patterns of what became of births. Those that were trained are other losses of the search.
OUTCOMES = {
    "evaluated": (OTHER.color, ""),
    "stopped": ("#56B4E9", "-"),
    "failed": ("#CC79A7", "x"),
    "rejected": ("#E69F00", "/"),
    "duplicates": ("#B8A13A", "."),
}

#: Colors of classes, none of them that of a loss (Tol's muted scheme), and their symbols.
CLASS_COLORS = ("#44AA99", "#CC6677", "#DDCC77", "#88CCEE", "#AA4499", "#999933", "#882255", "#117733")
SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "triangle-down"),
    *("pentagon", "hexagon", "star", "circle-open", "square-open"),
)

#: Color of grid lines, visible on white and on black.
GRID = "rgba(128,128,128,0.25)"

#: Axis that makes room for its labels, so that none is cut off.
_AXIS = {"automargin": True, "gridcolor": GRID, "zeroline": False, "title": {"standoff": 8}}

#: Layout that all figures share.
LAYOUT: dict[str, Any] = {
    "template": "none",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 56, "r": 16, "t": 44, "b": 48},
    "height": 360,
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "legend": {"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"},
    "hoverlabel": {"align": "left"},
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8c959f", "activecolor": LOSS.color},
    "xaxis": _AXIS,
    "yaxis": _AXIS,
}

#: Steps of labels on a logarithmic axis within a decade, the densest first.
_STEPS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))


def role_of(name: str | None) -> Role:
    """Return the role of a loss by its name; one without a name was found by a search."""
    return LOSS if name is None else CROSS_ENTROPY if name == BASELINE else KNOWN


def log_axis(values: Iterable[float | None], most: int = 8) -> dict[str, Any]:
    """Return a logarithmic axis over these values, with at most ``most`` labels, each written in full.

    plotly's own labels within a decade have one digit: 2 for 20.
    """
    positive = [value for value in values if value is not None and value > 0.0 and math.isfinite(value)]
    if not positive:
        return {"type": "log"}
    low, high = math.log10(min(positive)), math.log10(max(positive))
    room = 0.04 * (high - low) or 0.1
    low, high = low - room, high + room
    ticks = next((ticks for steps in _STEPS if len(ticks := _ticks(steps, low, high)) <= most), [])
    if not ticks:
        decades = range(math.ceil(low), math.floor(high) + 1)
        ticks = [10.0**exponent for exponent in decades[:: -(-len(decades) // most)]]
    if len(ticks) < 2:  # the values lie close together
        ticks = [10.0 ** (low + share * (high - low)) for share in (0.1, 0.5, 0.9)]
    texts = [f"{tick:.3g}" if tick < 1e3 else f"{tick:,.0f}" if tick < 1e7 else f"{tick:.0e}" for tick in ticks]
    return {"type": "log", "range": [low, high], "tickmode": "array", "tickvals": ticks, "ticktext": texts}


def _ticks(steps: Sequence[int], low: float, high: float) -> list[float]:
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def library() -> str:
    """Return the JavaScript that draws the figures."""
    return str(get_plotlyjs())


def label(text: str, limit: int = 90) -> str:
    """Return text for a label, shortened, without the HTML that plotly would obey."""
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
