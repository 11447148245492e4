"""Look of the figures: colors, symbols, dashes and the common layout.

The colors are Okabe and Ito's, which most people can tell apart. A shape or a dash always repeats what a color says.
"""

from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

__all__ = ["COLORS", "DASHES", "GRID", "LAYOUT", "SYMBOLS", "Figure", "label", "library"]

#: Okabe and Ito's colors. The first is for the loss itself.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
#: Symbols of classes, beside their colors.
SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "triangle-down"),
    *("pentagon", "hexagon", "star", "circle-open", "square-open"),
)
#: Dashes of lines, beside their colors.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")

#: Color of grid lines, visible on white and on black.
GRID = "rgba(128,128,128,0.25)"

#: Layout that all figures share.
LAYOUT = {
    "template": "none",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
    "height": 380,
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "legend": {"orientation": "h", "y": -0.28},
    "hoverlabel": {"align": "left"},
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#8c959f", "activecolor": COLORS[0]},
}


def library() -> str:
    """Return the JavaScript that draws the figures."""
    return str(get_plotlyjs())


def label(text: str, limit: int = 90) -> str:
    """Return text for a label, shortened, without the HTML that plotly would obey."""
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
