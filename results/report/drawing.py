"""How figures look: colors, symbols, dashes, the common layout.

Colors are those of Okabe and Ito, which most people tell apart; what a color says a shape or a dash says as well.
"""

from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

__all__ = ["COLORS", "DASHES", "GRID", "LAYOUT", "SYMBOLS", "Figure", "label", "library"]

#: Okabe and Ito's colors, from that of a loss itself on.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
#: One for each class, beside its color.
SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "triangle-down"),
    *("pentagon", "hexagon", "star", "circle-open", "square-open"),
)
#: One for each line, beside its color.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")

#: The color of lines behind a plot, seen on white and on black.
GRID = "rgba(128,128,128,0.25)"

#: What all figures have in common.
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
    """The JavaScript that draws figures."""
    return str(get_plotlyjs())


def label(text: str, most: int = 90) -> str:
    """Text for a label, which plotly would read as HTML."""
    short = text if len(text) <= most else text[: most - 3] + "..."
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
