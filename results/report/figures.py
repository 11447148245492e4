"""The figures of a report, each a plotly figure of its own. The only file with plotly.

Colors are those of Okabe and Ito, which most people tell apart; what a color says a shape or a dash says as well.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal

import plotly.graph_objects as go
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from results.curves import CurvePoint
from results.leaderboard_rows import Row
from results.loss_facts import Ancestor
from results.observation import EmbeddedPoint, GridPoint, Observation, Picture
from results.report.contents import Generation

__all__ = [
    "Figure",
    "class_maps",
    "confusion",
    "course",
    "curve",
    "embedded",
    "family",
    "landscape",
    "library",
    "outcomes",
    "pareto",
    "progress",
]

#: Okabe and Ito's colors, from that of a loss itself on.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
_SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "triangle-down"),
    *("pentagon", "hexagon", "star", "circle-open", "square-open"),
)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")

_GRID = "rgba(128,128,128,0.25)"

#: Losses of a scatter at most: the front, the survivors and known ones are always among them.
POINTS = 3_000

_LAYOUT = {
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


def pareto(rows: Sequence[Row], survivors: Sequence[Row]) -> Figure:
    """Fitness against size of every loss with a rank, the Pareto front, the known losses and the survivors."""
    ranked = [row for row in rows if row.rank is not None]
    chosen = {row.loss_id for row in survivors}
    others = [row for row in ranked if row.name is None and row.loss_id not in chosen]
    shown = others if len(others) <= POINTS else others[:: -(-len(others) // POINTS)]
    front = sorted((row for row in ranked if row.pareto), key=lambda row: row.complexity)
    figure = Figure(layout=_LAYOUT)
    figure.add_trace(_scatter(shown, "found", COLORS[6], "circle", 5, opacity=0.5))
    figure.add_trace(
        go.Scatter(
            x=[row.complexity for row in front],
            y=[row.fitness_mean for row in front],
            mode="lines",
            line={"color": COLORS[2], "shape": "hv"},
            name="Pareto front",
            hoverinfo="skip",
        )
    )
    figure.add_trace(_scatter([row for row in ranked if row.name], "known losses", COLORS[1], "diamond", 9))
    figure.add_trace(_scatter(survivors, "survivors", COLORS[0], "star", 14))
    figure.update_xaxes(title="size of the formula, in nodes", type="log", gridcolor=_GRID)
    figure.update_yaxes(title=_fitness(rows), gridcolor=_GRID, range=_range(ranked))
    return figure


def _scatter(rows: Sequence[Row], name: str, color: str, symbol: str, size: int, opacity: float = 1.0) -> go.Scatter:
    return go.Scatter(
        x=[row.complexity for row in rows],
        y=[row.fitness_mean for row in rows],
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": size, "opacity": opacity},
        name=name,
        text=[_shown(row.name or row.formula) for row in rows],
        customdata=[row.rank for row in rows],
        hovertemplate="rank %{customdata}: %{y:.4f}, %{x} nodes<br>%{text}<extra></extra>",
    )


def _range(rows: Sequence[Row]) -> list[float] | None:
    """The better nine tenths of the losses: one that hardly trains would flatten all others."""
    values = sorted(row.fitness_mean for row in rows if row.fitness_mean is not None)
    if len(values) < 10:
        return None
    low, high = values[len(values) // 10], values[-1]
    room = 0.05 * (high - low) or 0.01
    return [low - room, high + room]


def progress(generations: Sequence[Generation], metric: str, baseline: float | None) -> Figure:
    """The best fitness so far and the median of what was born, generation by generation."""
    numbers = [each.number for each in generations]
    figure = Figure(layout=_LAYOUT)
    for number, (name, values) in enumerate(
        (
            ("best so far", [each.best for each in generations]),
            ("median of those born", [each.median for each in generations]),
        )
    ):
        figure.add_trace(
            go.Scatter(
                x=numbers,
                y=values,
                mode="lines+markers",
                name=name,
                line={"color": COLORS[number], "dash": _DASHES[number]},
            )
        )
    if baseline is not None:
        figure.add_trace(
            go.Scatter(
                x=[numbers[0], numbers[-1]],
                y=[baseline, baseline],
                mode="lines",
                name="cross-entropy",
                line={"color": COLORS[2], "dash": "dot"},
            )
        )
    figure.update_xaxes(title="generation", dtick=max(1, len(numbers) // 15), showgrid=False)
    figure.update_yaxes(title=metric, gridcolor=_GRID)
    return figure


def outcomes(generations: Sequence[Generation]) -> Figure:
    """What became of the losses that were born, generation by generation."""
    figure = Figure(layout=_LAYOUT | {"barmode": "stack"})
    named = (("evaluated", COLORS[0]), ("stopped", COLORS[5]), ("failed", COLORS[1]), ("rejected", COLORS[4]))
    patterns = ("", "-", "x", "/", ".")
    for (name, color), pattern in zip((*named, ("duplicates", COLORS[6])), patterns, strict=True):
        counts = [getattr(each, name) for each in generations]
        if any(counts):
            figure.add_trace(
                go.Bar(
                    x=[each.number for each in generations],
                    y=counts,
                    name=name,
                    marker={"color": color, "pattern": {"shape": pattern}},
                )
            )
    figure.update_xaxes(title="generation", dtick=max(1, len(generations) // 15), showgrid=False)
    figure.update_yaxes(title="losses", gridcolor=_GRID)
    return figure


def curve(points: Sequence[CurvePoint], line: str, what: Literal["value", "slope"]) -> Figure:
    """``what`` of losses along a line: the target's or another class's probability or angle.

    Values are shifted so that the least of each is 0, since a constant moves no weight. The slope is in the logit of
    the class that varies, or over embeddings in its angle.
    """
    own = [each for each in points if each.line == line]
    figure = Figure(layout=_LAYOUT)
    losses = list(dict.fromkeys(each.loss for each in own))
    by_angle = bool(own) and own[0].axis == "angle"
    for (loss, moment), group in groupby(own, key=lambda each: (each.loss, each.progress)):
        some, place = list(group), losses.index(loss)
        when = "" if moment is None else f", progress {moment:g}"
        figure.add_trace(
            go.Scatter(
                x=[each.at for each in some],
                y=_shifted(some) if what == "value" else [_slope(each) for each in some],
                mode="lines",
                name=_shown(loss, 40) + when,
                opacity=1.0 if moment in (None, 0.0) else 0.75 if moment < 1.0 else 0.5,
                line={"color": COLORS[place], "dash": _DASHES[place]},
            )
        )
    who = "the target" if line == "target" else "one other class"
    title = f"angle to the weight of {who}, radians" if by_angle else f"probability of {who}"
    slope = "slope in the angle" if by_angle else "slope in the logit"
    figure.update_xaxes(title=title, gridcolor=_GRID)
    figure.update_yaxes(title="value, from its least" if what == "value" else slope, gridcolor=_GRID)
    return figure


def _shifted(points: Sequence[CurvePoint]) -> list[float | None]:
    least = min((each.value for each in points if each.value is not None), default=0.0)
    return [None if each.value is None else each.value - least for each in points]


def _slope(point: CurvePoint) -> float | None:
    return point.slope if point.axis == "angle" else point.slope_in_logit


def family(ancestors: Sequence[Ancestor], metric: str) -> Figure:
    """A loss and those that it comes from: generation against fitness, with a line from each parent."""
    known = {each.row.loss_id: each.row for each in ancestors}
    figure = Figure(layout=_LAYOUT | {"showlegend": False})
    lines_x: list[float | None] = []
    lines_y: list[float | None] = []
    for each in ancestors:
        for parent in each.row.parents:
            if parent in known:
                lines_x += [known[parent].generation, each.row.generation, None]
                lines_y += [known[parent].fitness_mean, each.row.fitness_mean, None]
    figure.add_trace(go.Scatter(x=lines_x, y=lines_y, mode="lines", line={"color": COLORS[6]}, hoverinfo="skip"))
    rows = [each.row for each in ancestors]
    figure.add_trace(
        go.Scatter(
            x=[row.generation for row in rows],
            y=[row.fitness_mean for row in rows],
            mode="markers",
            marker={
                "size": [13] + [9] * (len(rows) - 1),
                "color": [COLORS[0]] + [COLORS[1] if row.name else COLORS[6] for row in rows[1:]],
                "symbol": ["star"] + ["diamond" if row.name else "circle" for row in rows[1:]],
            },
            text=[_shown(row.name or row.formula) for row in rows],
            customdata=[_shown(row.birth) for row in rows],
            hovertemplate="%{customdata}, generation %{x}: %{y:.4f}<br>%{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title="generation", showgrid=False)
    figure.update_yaxes(title=metric, gridcolor=_GRID)
    return figure


def library() -> str:
    """The JavaScript that draws figures."""
    return str(get_plotlyjs())


def course(seen: Mapping[str, Observation], what: Literal["fitness", "loss", "gradient"]) -> Figure:
    """How trainings went: fitness, loss or the size of the gradient at the embedding, step by step."""
    figure = Figure(layout=_LAYOUT)
    for number, (called, each) in enumerate(seen.items()):
        figure.add_trace(
            go.Scatter(
                x=[point.step for point in each.course],
                y=[getattr(point, what) for point in each.course],
                mode="lines",
                name=_shown(called, 40),
                line={"color": COLORS[number], "dash": _DASHES[number]},
            )
        )
    metric = next(iter(seen.values())).form.metric
    titles = {"fitness": f"{metric}, validation", "loss": "loss, training", "gradient": "gradient at the embedding"}
    figure.update_xaxes(title="step", showgrid=False)
    figure.update_yaxes(title=titles[what], gridcolor=_GRID, type="linear" if what == "fitness" else "log")
    if what != "fitness":
        figure.update_yaxes(dtick=1, minor={"showgrid": False})
    return figure


def confusion(counts: Sequence[int]) -> Figure:
    """Counts of true classes, in rows, and found ones, in columns."""
    classes = math.isqrt(len(counts))
    rows = [list(counts[start : start + classes]) for start in range(0, classes * classes, classes)]
    names = [str(each) for each in range(classes)]
    figure = Figure(layout=_LAYOUT)
    figure.add_trace(
        go.Heatmap(
            z=rows,
            x=names,
            y=names,
            colorscale="Blues",
            showscale=False,
            text=rows if classes <= 20 else None,
            texttemplate="%{text}" if classes <= 20 else None,
            hovertemplate="true %{y}, found %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_xaxes(title="found class", type="category", showgrid=False)
    figure.update_yaxes(title="true class", type="category", autorange="reversed", showgrid=False)
    return figure


def embedded(points: Sequence[EmbeddedPoint], called: str) -> Figure:
    """Embeddings in two dimensions by t-SNE, each class with a color and a symbol; crosses are told wrongly."""
    title = {"text": _shown(called, 50), "font": {"size": 13}, "x": 0.0}
    figure = Figure(layout=_LAYOUT | {"title": title, "margin": {"l": 20, "r": 20, "t": 50, "b": 40}})
    for number, target in enumerate(sorted({each.target for each in points})):
        own = [each for each in points if each.target == target]
        figure.add_trace(
            go.Scatter(
                x=[each.x for each in own],
                y=[each.y for each in own],
                mode="markers",
                name=str(target),
                marker={
                    "color": COLORS[number % len(COLORS)],
                    "symbol": ["x" if each.found not in (target, -1) else _SYMBOLS[number % 10] for each in own],
                    "size": 6,
                },
                hovertemplate=f"class {target}<extra></extra>",
            )
        )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure


def landscape(points: Sequence[GridPoint], what: Literal["value", "ratio"]) -> Figure:
    """The loss, or the ratio of the Hessian's extreme eigenvalues, along two directions through the trained weights."""
    places = sorted({each.a for each in points} | {each.b for each in points})
    known = {(each.a, each.b): each.value for each in points}
    rows = [[known.get((a, b)) for a in places] for b in places]
    figure = Figure(layout=_LAYOUT)
    if what == "value":
        figure.add_trace(go.Contour(z=rows, x=places, y=places, colorscale="Viridis", contours={"coloring": "lines"}))
    else:
        figure.add_trace(go.Heatmap(z=rows, x=places, y=places, colorscale="Viridis", zmin=0.0))
    figure.add_trace(
        go.Scatter(x=[0.0], y=[0.0], mode="markers", marker={"symbol": "cross", "color": COLORS[1]}, showlegend=False)
    )
    figure.update_xaxes(title="first direction", showgrid=False, zeroline=False)
    figure.update_yaxes(title="second direction", showgrid=False, zeroline=False, scaleanchor="x")
    return figure


def class_maps(pictures: Sequence[Picture]) -> Figure:
    """Images, and below each where the network sees the class that it finds."""
    figure = Figure(layout=_LAYOUT | {"grid": {"rows": 2, "columns": len(pictures), "pattern": "independent"}})
    for number, each in enumerate(pictures):
        for row, (values, scale) in enumerate(((each.image, "Greys"), (each.map, "Viridis"))):
            place = row * len(pictures) + number + 1
            axis = "" if place == 1 else str(place)
            lines = [values[start : start + each.width] for start in range(0, len(values), each.width)]
            figure.add_trace(
                go.Heatmap(
                    z=[list(line) for line in lines],
                    colorscale=scale,
                    reversescale=row == 0,
                    showscale=False,
                    xaxis=f"x{axis}",
                    yaxis=f"y{axis}",
                    hoverinfo="skip",
                )
            )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed")
    return figure


def _fitness(rows: Sequence[Row]) -> str:
    return f"{rows[0].metric} on the validation split" if rows else "fitness"


def _shown(text: str, most: int = 90) -> str:
    """Text for a label, which plotly would read as HTML."""
    short = text if len(text) <= most else text[: most - 3] + "..."
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
