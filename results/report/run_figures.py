"""Figures of a run and its losses: the front, progress, what became of births, curves, families. Made with plotly."""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import plotly.graph_objects as go

from lossearch.results.findings.curves import CurvePoint
from lossearch.results.ranking.row import Row
from lossearch.results.report.contents import Generation
from lossearch.results.report.drawing import COLORS, DASHES, GRID, LAYOUT, Figure, label
from lossearch.results.report.loss_facts import Ancestor

#: Losses of a scatter at most: the front, the survivors and known ones are always among them.
POINTS = 3_000


def pareto(rows: Sequence[Row], survivors: Sequence[Row]) -> Figure:
    """Fitness against size of every loss with a rank, the Pareto front, the known losses and the survivors."""
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
    """The better nine tenths of the losses: one that hardly trains would flatten all others."""
    values = sorted(row.fitness_mean for row in rows if row.fitness_mean is not None)
    if len(values) < 10:
        return None
    low, high = values[len(values) // 10], values[-1]
    room = 0.05 * (high - low) or 0.01
    return [low - room, high + room]


def _fitness(rows: Sequence[Row]) -> str:
    return f"{rows[0].metric} on the validation split" if rows else "fitness"


def progress(generations: Sequence[Generation], metric: str, baseline: float | None) -> Figure:
    """The best fitness so far and the median of what was born, generation by generation."""
    numbers = [each.number for each in generations]
    figure = Figure(layout=LAYOUT)
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
    """What became of the losses that were born, generation by generation."""
    figure = Figure(layout=LAYOUT | {"barmode": "stack"})
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
    figure.update_yaxes(title="losses", gridcolor=GRID)
    return figure


def curve(points: Sequence[CurvePoint], line: str, what: Literal["value", "slope"]) -> Figure:
    """``what`` of losses along a line: the target's or another class's probability or angle.

    Values are shifted so that the least of each is 0, since a constant moves no weight. The slope is in the logit of
    the class that varies, or over embeddings in its angle.
    """
    own = [each for each in points if each.line == line]
    figure = Figure(layout=LAYOUT)
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
                name=label(loss, 40) + when,
                opacity=1.0 if moment in (None, 0.0) else 0.75 if moment < 1.0 else 0.5,
                line={"color": COLORS[place], "dash": DASHES[place]},
            )
        )
    who = "the target" if line == "target" else "one other class"
    title = f"angle to the weight of {who}, radians" if by_angle else f"probability of {who}"
    slope = "slope in the angle" if by_angle else "slope in the logit"
    figure.update_xaxes(title=title, gridcolor=GRID)
    figure.update_yaxes(title="value, from its least" if what == "value" else slope, gridcolor=GRID)
    return figure


def _shifted(points: Sequence[CurvePoint]) -> list[float | None]:
    least = min((each.value for each in points if each.value is not None), default=0.0)
    return [None if each.value is None else each.value - least for each in points]


def _slope(point: CurvePoint) -> float | None:
    return point.slope if point.axis == "angle" else point.slope_in_logit


def family(ancestors: Sequence[Ancestor], metric: str) -> Figure:
    """A loss and those that it comes from: generation against fitness, with a line from each parent."""
    known = {each.row.loss_id: each.row for each in ancestors}
    figure = Figure(layout=LAYOUT | {"showlegend": False})
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
            text=[label(row.name or row.formula) for row in rows],
            customdata=[label(row.birth) for row in rows],
            hovertemplate="%{customdata}, generation %{x}: %{y:.4f}<br>%{text}<extra></extra>",
        )
    )
    figure.update_xaxes(title="generation", showgrid=False)
    figure.update_yaxes(title=metric, gridcolor=GRID)
    return figure
