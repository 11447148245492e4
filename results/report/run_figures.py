"""Figures of a run and its losses: front, progress, outcomes, curves and family trees. Made with plotly."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import plotly.graph_objects as go

from lossearch.results.findings.curves import CurvePoint
from lossearch.results.ranking.row import Row
from lossearch.results.records import BASELINE
from lossearch.results.report.contents import Generation
from lossearch.results.report.drawing import (
    CROSS_ENTROPY,
    KNOWN,
    LAYOUT,
    LOSS,
    OTHER,
    OUTCOMES,
    Figure,
    Role,
    label,
    log_axis,
    role_of,
)
from lossearch.results.report.loss_facts import Ancestor
from lossearch.results.report.ranges import fitness_range, progress_range

#: Largest number of other losses in a scatter plot. The front, the survivors and known losses are always shown.
POINTS = 3_000


def pareto(rows: Sequence[Row], survivors: Sequence[Row]) -> Figure:
    """Draw fitness against size of the ranked losses, with the Pareto front, the known losses and the survivors.

    The plot shows the losses among which a reader chooses: see ``fitness_range``.
    """
    ranked = [row for row in rows if row.rank is not None]
    chosen = {row.loss_id for row in survivors}
    others = [row for row in ranked if row.name is None and row.loss_id not in chosen]
    drawn = others if len(others) <= POINTS else others[:: -(-len(others) // POINTS)]
    front = sorted((row for row in ranked if row.pareto), key=lambda row: row.complexity)
    figure = Figure(layout=LAYOUT)
    figure.add_trace(_scatter(drawn, "other losses", OTHER, 5, opacity=0.5))
    figure.add_trace(
        go.Scatter(
            x=[row.complexity for row in front],
            y=[row.fitness_mean for row in front],
            mode="lines",
            line={"color": OTHER.color, "shape": "hv", "width": 1.5},
            name="Pareto front",
            hoverinfo="skip",
        )
    )
    known = [row for row in ranked if row.name and row.name != BASELINE]
    figure.add_trace(_scatter(known, "other known losses", KNOWN, 8))
    figure.add_trace(_scatter([row for row in ranked if row.name == BASELINE], "cross-entropy", CROSS_ENTROPY, 11))
    found = [row for row in survivors if row.name is None]
    figure.add_trace(_scatter(found, "best losses", LOSS, 14))
    figure.update_xaxes(title_text="size of the formula, in nodes")
    figure.update_xaxes(log_axis(row.complexity for row in ranked))
    figure.update_yaxes(title_text=f"{rows[0].metric}, validation" if rows else "fitness")
    shown = fitness_range(rows, survivors)
    if shown is not None:
        figure.update_yaxes(range=shown.ends)
    return figure


def _scatter(rows: Sequence[Row], name: str, role: Role, size: int, opacity: float = 1.0) -> go.Scatter:
    return go.Scatter(
        x=[row.complexity for row in rows],
        y=[row.fitness_mean for row in rows],
        mode="markers",
        marker={"color": role.color, "symbol": role.symbol, "size": size, "opacity": opacity},
        name=name,
        text=[label(row.name or row.formula) for row in rows],
        customdata=[row.rank for row in rows],
        hovertemplate="rank %{customdata}: %{y:.4f}, %{x} nodes<br>%{text}<extra></extra>",
    )


def progress(generations: Sequence[Generation], metric: str, baseline: float | None) -> Figure:
    """Draw the best fitness so far and the median of the losses born in each generation."""
    numbers = [generation.number for generation in generations]
    best, medians = ([getattr(generation, name) for generation in generations] for name in ("best", "median"))
    figure = Figure(layout=LAYOUT)
    for name, values, role in (("best so far", best, LOSS), ("median of those born", medians, OTHER)):
        figure.add_trace(
            go.Scatter(
                x=numbers,
                y=values,
                mode="lines+markers",
                name=name,
                line={"color": role.color, "dash": role.dash},
            )
        )
    if baseline is not None:
        figure.add_trace(
            go.Scatter(
                x=[numbers[0], numbers[-1]],
                y=[baseline, baseline],
                mode="lines+markers" if len(numbers) == 1 else "lines",
                name="cross-entropy",
                line={"color": CROSS_ENTROPY.color, "dash": CROSS_ENTROPY.dash},
            )
        )
    figure.update_xaxes(title_text="generation", dtick=max(1, len(numbers) // 10), showgrid=False)
    figure.update_yaxes(title_text=f"{metric}, validation", range=progress_range(best, medians, baseline).ends)
    return figure


def outcomes(generations: Sequence[Generation]) -> Figure:
    """Draw how many losses of each generation were evaluated, stopped, failed, rejected or duplicates."""
    figure = Figure(layout=LAYOUT | {"barmode": "stack", "legend": LAYOUT["legend"] | {"traceorder": "normal"}})
    for name, (color, pattern) in OUTCOMES.items():
        counts = [getattr(generation, name) for generation in generations]
        if any(counts):
            figure.add_trace(
                go.Bar(
                    x=[generation.number for generation in generations],
                    y=counts,
                    name=name,
                    marker={"color": color, "pattern": {"shape": pattern, "fillmode": "overlay", "fgopacity": 0.5}},
                )
            )
    figure.update_xaxes(title_text="generation", dtick=max(1, len(generations) // 10), showgrid=False)
    figure.update_yaxes(title_text="births")
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
        curve_points, role = list(group), LOSS if loss == losses[0] != BASELINE else role_of(loss)
        when = "" if moment is None else f", progress {moment:g}"
        figure.add_trace(
            go.Scatter(
                x=[math.degrees(point.at) if by_angle else point.at for point in curve_points],
                y=_shifted(curve_points) if what == "value" else [_slope(point) for point in curve_points],
                mode="lines",
                name=label(loss, 40) + when,
                opacity=1.0 if moment in (None, 0.0) else 0.75 if moment < 1.0 else 0.5,
                line={"color": role.color, "dash": role.dash},
            )
        )
    varying = "the target" if line == "target" else "one other class"
    title = f"angle to the weight of {varying}, degrees" if by_angle else f"probability of {varying}"
    slope = "slope in the angle, per radian" if by_angle else "slope in the logit"
    figure.update_xaxes(title_text=title)
    if by_angle:
        figure.update_xaxes(dtick=30)
    figure.update_yaxes(title_text="value above its minimum" if what == "value" else slope)
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
    figure = Figure(layout=LAYOUT)
    lines_x: list[float | None] = []
    lines_y: list[float | None] = []
    for row in rows:
        for parent in row.parents:
            if parent in known:
                lines_x += [known[parent].generation, row.generation, None]
                lines_y += [known[parent].fitness_mean, row.fitness_mean, None]
    lines = {"color": OTHER.color, "width": 1}
    figure.add_trace(
        go.Scatter(x=lines_x, y=lines_y, mode="lines", line=lines, hoverinfo="skip", name="parent of", showlegend=False)
    )
    for name, role, size, members in (
        ("ancestors", OTHER, 8, [row for row in rows[1:] if row.name is None]),
        ("known losses", KNOWN, 9, [row for row in rows[1:] if row.name not in (None, BASELINE)]),
        ("cross-entropy", CROSS_ENTROPY, 11, [row for row in rows[1:] if row.name == BASELINE]),
        ("this loss", LOSS, 15, rows[:1]),
    ):
        if members:
            figure.add_trace(
                go.Scatter(
                    x=[row.generation for row in members],
                    y=[row.fitness_mean for row in members],
                    mode="markers",
                    name=name,
                    marker={"size": size, "color": role.color, "symbol": role.symbol},
                    text=[label(row.name or row.formula) for row in members],
                    customdata=[label(row.birth) for row in members],
                    hovertemplate="%{customdata} %{x}: %{y:.4f}<br>%{text}<extra></extra>",
                )
            )
    last = max((row.generation for row in rows), default=0)
    step = max(1, last // 10)
    figure.update_xaxes(title_text="generation of birth, from g0", tickprefix="g", dtick=step, showgrid=False)
    figure.update_yaxes(title_text=f"{metric}, validation")
    return figure
