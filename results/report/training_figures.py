"""Figures of one training: its course, confusion, embeddings, landscape, class maps. Made with plotly."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import plotly.graph_objects as go

from lossearch.results.findings.observation import EmbeddedPoint, GridPoint, Observation, Picture
from lossearch.results.report.drawing import COLORS, DASHES, GRID, LAYOUT, SYMBOLS, Figure, label


def course(seen: Mapping[str, Observation], what: Literal["fitness", "loss", "gradient"]) -> Figure:
    """How trainings went: fitness, loss or the size of the gradient at the embedding, step by step."""
    figure = Figure(layout=LAYOUT)
    for number, (called, each) in enumerate(seen.items()):
        figure.add_trace(
            go.Scatter(
                x=[point.step for point in each.course],
                y=[getattr(point, what) for point in each.course],
                mode="lines",
                name=label(called, 40),
                line={"color": COLORS[number], "dash": DASHES[number]},
            )
        )
    metric = next(iter(seen.values())).form.metric
    titles = {"fitness": f"{metric}, validation", "loss": "loss, training", "gradient": "gradient at the embedding"}
    figure.update_xaxes(title="step", showgrid=False)
    figure.update_yaxes(title=titles[what], gridcolor=GRID, type="linear" if what == "fitness" else "log")
    if what != "fitness":
        figure.update_yaxes(dtick=1, minor={"showgrid": False})
    return figure


def confusion(counts: Sequence[int]) -> Figure:
    """Counts of true classes, in rows, and found ones, in columns."""
    classes = math.isqrt(len(counts))
    rows = [list(counts[start : start + classes]) for start in range(0, classes * classes, classes)]
    names = [str(each) for each in range(classes)]
    figure = Figure(layout=LAYOUT)
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
    title = {"text": label(called, 50), "font": {"size": 13}, "x": 0.0}
    figure = Figure(layout=LAYOUT | {"title": title, "margin": {"l": 20, "r": 20, "t": 50, "b": 40}})
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
                    "symbol": ["x" if each.found not in (target, -1) else SYMBOLS[number % 10] for each in own],
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
    figure = Figure(layout=LAYOUT)
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
    figure = Figure(layout=LAYOUT | {"grid": {"rows": 2, "columns": len(pictures), "pattern": "independent"}})
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
