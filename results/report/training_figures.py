"""Figures of one training: course, confusion matrix, embeddings, landscape and class maps. Made with plotly."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import plotly.graph_objects as go

from lossearch.results.findings.observation import EmbeddedPoint, GridPoint, Observation, Picture
from lossearch.results.records import BASELINE
from lossearch.results.report.drawing import (
    CLASS_COLORS,
    CROSS_ENTROPY,
    LAYOUT,
    LOSS,
    OTHER,
    SYMBOLS,
    Figure,
    label,
    log_axis,
)
from lossearch.results.report.ranges import late_range


def course(observations: Mapping[str, Observation], what: Literal["fitness", "loss", "gradient"]) -> Figure:
    """Draw fitness, loss or size of the gradient at the embedding by step, for observations by the loss's name."""
    figure = Figure(layout=LAYOUT)
    for name, observation in observations.items():
        role = CROSS_ENTROPY if name == BASELINE else LOSS
        figure.add_trace(
            go.Scatter(
                x=[point.step for point in observation.course],
                y=[getattr(point, what) for point in observation.course],
                mode="lines",
                name=label(name, 40),
                line={"color": role.color, "dash": role.dash},
            )
        )
    metric = next(iter(observations.values())).form.metric
    titles = {"fitness": f"{metric}, validation", "loss": "loss, training", "gradient": "gradient at the embedding"}
    figure.update_xaxes(title_text="step", showgrid=False)
    figure.update_yaxes(title_text=titles[what])
    courses = [[float(getattr(point, what)) for point in observation.course] for observation in observations.values()]
    shown = late_range(courses) if what == "fitness" else None
    if shown is not None:
        figure.update_yaxes(range=shown.ends)
    elif what != "fitness":
        figure.update_yaxes(log_axis((value for course in courses for value in course), most=6))
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
            colorscale=[[0.0, "rgba(0,114,178,0)"], [1.0, "rgba(0,114,178,0.75)"]],
            showscale=False,
            text=rows if classes <= 20 else None,
            texttemplate="%{text}" if classes <= 20 else None,
            hovertemplate="true %{y}, predicted %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="predicted class", type="category", showgrid=False)
    figure.update_yaxes(title_text="true class", type="category", autorange="reversed", showgrid=False)
    return figure


def embedded(points: Sequence[EmbeddedPoint], name: str) -> Figure:
    """Draw embeddings in two dimensions by t-SNE. Each class has a color and a symbol; crosses are errors."""
    title = {"text": label(name, 50), "font": {"size": 13}, "x": 0.0}
    legend = {"orientation": "h", "x": 0.0, "y": 0.0, "yanchor": "top"}
    figure = Figure(layout={**LAYOUT, "title": title, "legend": legend, "height": 420})
    for number, target in enumerate(sorted({point.target for point in points})):
        of_class = [point for point in points if point.target == target]
        figure.add_trace(
            go.Scatter(
                x=[point.x for point in of_class],
                y=[point.y for point in of_class],
                mode="markers",
                name=str(target),
                marker={
                    "color": CLASS_COLORS[number % len(CLASS_COLORS)],
                    "symbol": ["x" if point.found not in (target, -1) else SYMBOLS[number % 10] for point in of_class],
                    "size": 7,
                    "line": {"color": OTHER.color, "width": 0.5},
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
        go.Scatter(
            x=[0.0],
            y=[0.0],
            mode="markers",
            marker={"symbol": "cross", "size": 10, "color": OTHER.color},
            showlegend=False,
        )
    )
    figure.update_xaxes(title_text="first direction", showgrid=False)
    figure.update_yaxes(title_text="second direction", showgrid=False, scaleanchor="x")
    return figure


def class_maps(pictures: Sequence[Picture]) -> Figure:
    """Draw images, and below each the map of where the network sees the class that it predicts."""
    figure = Figure(layout={**LAYOUT, "grid": {"rows": 2, "columns": len(pictures), "pattern": "independent"}})
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
