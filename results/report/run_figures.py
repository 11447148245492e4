"""Figures of a run and its losses: front, progress, outcomes, curves and family trees. Made with plotly."""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import plotly.graph_objects as go

from lossearch.results.findings.curves import CurvePoint
from lossearch.results.ranking.row import Row
from lossearch.results.report.contents import Generation
from lossearch.results.report.drawing import COLORS, DASHES, GRID, LAYOUT, Figure, label
from lossearch.results.report.loss_facts import Ancestor

#: Largest number of other losses in a scatter plot. The front, the survivors and known losses are always shown.
POINTS = 3_000


def pareto(rows: Sequence[Row], survivors: Sequence[Row]) -> Figure:
    """Draw fitness against size of the ranked losses, with the Pareto front, the known losses and the survivors."""
    ranked = [row for row in rows if row.rank is not None]
    chosen = {row.loss_id for row in survivors}
    others = [row for row in ranked if row.name is None and row.loss_id not in chosen]
    shown = others if len(others) <= POINTS else others[:: -(-len(others) // POINTS)]
    front = sorted((row for row in ranked if row.pareto), key=lambda row: row.complexity)
    figure = Figure(layout=LAYOUT)
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
    figure.update_xaxes(title="size of the formula, in nodes", type="log", gridcolor=GRID)
    figure.update_yaxes(title=_fitness(rows), gridcolor=GRID, range=_range(ranked))
    return figure


def _scatter(rows: Sequence[Row], name: str, color: str, symbol: str, size: int, opacity: float = 1.0) -> go.Scatter:
    return go.Scatter(
        x=[row.complexity for row in rows],
        y=[row.fitness_mean for row in rows],
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": size, "opacity": opacity},
        name=name,
        text=[label(row.name or row.formula) for row in rows],
        customdata=[row.rank for row in rows],
        hovertemplate="rank %{customdata}: %{y:.4f}, %{x} nodes<br>%{text}<extra></extra>",
    )


def _range(rows: Sequence[Row]) -> list[float] | None:
    """Return the range of the better nine tenths. A loss that hardly trains would flatten all others."""
    values = sorted(row.fitness_mean for row in rows if row.fitness_mean is not None)
    if len(values) < 10:
        return None
    low, high = values[len(values) // 10], values[-1]
    room = 0.05 * (high - low) or 0.01
    return [low - room, high + room]


def _fitness(rows: Sequence[Row]) -> str:
    return f"{rows[0].metric} on the validation split" if rows else "fitness"


def progress(generations: Sequence[Generation], metric: str, baseline: float | None) -> Figure:
    """Draw the best fitness so far and the median of the losses born in each generation."""
    numbers = [generation.number for generation in generations]
    figure = Figure(layout=LAYOUT)
    for number, (name, values) in enumerate(
        (
            ("best so far", [generation.best for generation in generations]),
            ("median of those born", [generation.median for generation in generations]),
        )
    ):
        figure.add_trace(
            go.Scatter(
                x=numbers,
                y=values,
                mode="lines+markers",
                name=name,
                line={"color": COLORS[number], "dash": DASHES[number]},
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
    figure.update_yaxes(title=metric, gridcolor=GRID)
    return figure


def outcomes(generations: Sequence[Generation]) -> Figure:
    """Draw how many losses of each generation were evaluated, stopped, failed, rejected or duplicates."""
    figure = Figure(layout=LAYOUT | {"barmode": "stack"})
    for name, color, pattern in (
        ("evaluated", COLORS[0], ""),
        ("stopped", COLORS[5], "-"),
        ("failed", COLORS[1], "x"),
        ("rejected", COLORS[4], "/"),
        ("duplicates", COLORS[6], "."),
    ):
        counts = [getattr(generation, name) for generation in generations]
        if any(counts):
            figure.add_trace(
                go.Bar(
                    x=[generation.number for generation in generations],
                    y=counts,
                    name=name,
                    marker={"color": color, "pattern": {"shape": pattern}},
                )
            )
    figure.update_xaxes(title="generation", dtick=max(1, len(generations) // 15), showgrid=False)
    figure.update_yaxes(title="losses", gridcolor=GRID)
    return figure


def curve(points: Sequence[CurvePoint], line: str, what: Literal["value", "slope"]) -> Figure:
    """Draw the value or the slope of losses along a line: the target's or another class's probability or angle.

    Values are shifted so that the least of each is 0, since a constant moves no weight. The slope is the derivative in
    the logit of the class that varies, or over embeddings in its angle.
    """
    line_points = [point for point in points if point.line == line]
    figure = Figure(layout=LAYOUT)
    losses = list(dict.fromkeys(point.loss for point in line_points))
    by_angle = bool(line_points) and line_points[0].axis == "angle"
    for (loss, moment), group in groupby(line_points, key=lambda point: (point.loss, point.progress)):
        curve_points, place = list(group), losses.index(loss)
        when = "" if moment is None else f", progress {moment:g}"
        figure.add_trace(
            go.Scatter(
                x=[point.at for point in curve_points],
                y=_shifted(curve_points) if what == "value" else [_slope(point) for point in curve_points],
                mode="lines",
                name=label(loss, 40) + when,
                opacity=1.0 if moment in (None, 0.0) else 0.75 if moment < 1.0 else 0.5,
                line={"color": COLORS[place], "dash": DASHES[place]},
            )
        )
    varying = "the target" if line == "target" else "one other class"
    title = f"angle to the weight of {varying}, radians" if by_angle else f"probability of {varying}"
    slope = "slope in the angle" if by_angle else "slope in the logit"
    figure.update_xaxes(title=title, gridcolor=GRID)
    figure.update_yaxes(title="value above its minimum" if what == "value" else slope, gridcolor=GRID)
    return figure


def _shifted(points: Sequence[CurvePoint]) -> list[float | None]:
    least = min((point.value for point in points if point.value is not None), default=0.0)
    return [None if point.value is None else point.value - least for point in points]


def _slope(point: CurvePoint) -> float | None:
    return point.slope if point.axis == "angle" else point.slope_in_logit


def family(ancestors: Sequence[Ancestor], metric: str) -> Figure:
    """Draw a loss and its ancestors: generation against fitness, with a line from each parent."""
    rows = [ancestor.row for ancestor in ancestors]
    known = {row.loss_id: row for row in rows}
    figure = Figure(layout=LAYOUT | {"showlegend": False})
    lines_x: list[float | None] = []
    lines_y: list[float | None] = []
    for row in rows:
        for parent in row.parents:
            if parent in known:
                lines_x += [known[parent].generation, row.generation, None]
                lines_y += [known[parent].fitness_mean, row.fitness_mean, None]
    figure.add_trace(go.Scatter(x=lines_x, y=lines_y, mode="lines", line={"color": COLORS[6]}, hoverinfo="skip"))
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
            text=[label(row.name or row.formula) for row in rows],
            customdata=[label(row.birth) for row in rows],
            hovertemplate="%{customdata}, generation %{x}: %{y:.4f}<br>%{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title="generation", showgrid=False)
    figure.update_yaxes(title=metric, gridcolor=GRID)
    return figure
