"""Figures of one training: course, confusion matrix, embeddings, landscape and class maps. Made with plotly."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import plotly.graph_objects as go

from lossearch.results.findings.observation import EmbeddedPoint, GridPoint, Observation, Picture
from lossearch.results.report.drawing import COLORS, DASHES, GRID, LAYOUT, SYMBOLS, Figure, label


def course(observations: Mapping[str, Observation], what: Literal["fitness", "loss", "gradient"]) -> Figure:
    """Draw fitness, loss or size of the gradient at the embedding by step, for observations by the loss's name."""
    figure = Figure(layout=LAYOUT)
    for number, (name, observation) in enumerate(observations.items()):
        figure.add_trace(
            go.Scatter(
                x=[point.step for point in observation.course],
                y=[getattr(point, what) for point in observation.course],
                mode="lines",
                name=label(name, 40),
                line={"color": COLORS[number], "dash": DASHES[number]},
            )
        )
    metric = next(iter(observations.values())).form.metric
    titles = {"fitness": f"{metric}, validation", "loss": "loss, training", "gradient": "gradient at the embedding"}
    figure.update_xaxes(title="step", showgrid=False)
    figure.update_yaxes(title=titles[what], gridcolor=GRID, type="linear" if what == "fitness" else "log")
    if what != "fitness":
        figure.update_yaxes(dtick=1, minor={"showgrid": False})
    return figure


def confusion(counts: Sequence[int]) -> Figure:
    """Draw the confusion matrix: true classes in rows, predicted classes in columns."""
    classes = math.isqrt(len(counts))
    rows = [list(counts[start : start + classes]) for start in range(0, classes * classes, classes)]
    names = list(map(str, range(classes)))
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
            hovertemplate="true %{y}, predicted %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_xaxes(title="predicted class", type="category", showgrid=False)
    figure.update_yaxes(title="true class", type="category", autorange="reversed", showgrid=False)
    return figure


def embedded(points: Sequence[EmbeddedPoint], name: str) -> Figure:
    """Draw embeddings in two dimensions by t-SNE. Each class has a color and a symbol; crosses are errors."""
    title = {"text": label(name, 50), "font": {"size": 13}, "x": 0.0}
    figure = Figure(layout=LAYOUT | {"title": title, "margin": {"l": 20, "r": 20, "t": 50, "b": 40}})
    for number, target in enumerate(sorted({point.target for point in points})):
        of_class = [point for point in points if point.target == target]
        figure.add_trace(
            go.Scatter(
                x=[point.x for point in of_class],
                y=[point.y for point in of_class],
                mode="markers",
                name=str(target),
                marker={
                    "color": COLORS[number % len(COLORS)],
                    "symbol": ["x" if point.found not in (target, -1) else SYMBOLS[number % 10] for point in of_class],
                    "size": 6,
                },
                hovertemplate=f"class {target}<extra></extra>",
            )
        )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure


def landscape(points: Sequence[GridPoint], what: Literal["value", "ratio"]) -> Figure:
    """Draw the loss, or the ratio of the Hessian's extreme eigenvalues, in two directions from the trained weights."""
    places = sorted({point.a for point in points} | {point.b for point in points})
    known = {(point.a, point.b): point.value for point in points}
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
    """Draw images, and below each the map of where the network sees the class that it predicts."""
    figure = Figure(layout=LAYOUT | {"grid": {"rows": 2, "columns": len(pictures), "pattern": "independent"}})
    for number, picture in enumerate(pictures):
        for row, (values, scale) in enumerate(((picture.image, "Greys"), (picture.map, "Viridis"))):
            place = row * len(pictures) + number + 1
            axis = "" if place == 1 else str(place)
            lines = [values[start : start + picture.width] for start in range(0, len(values), picture.width)]
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
