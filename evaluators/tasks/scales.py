"""Scales of inputs: columns or channels whose numbers are too large, too small or too far from 0 to train with.

A network of this project starts with weights for inputs of a mean near 0 and a standard deviation near 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossearch.evaluators.data.splits import Split

if TYPE_CHECKING:
    from torch import Tensor

#: Largest ratio of two columns' standard deviations, and the largest or, inverted, the smallest typical one.
WIDEST = 1e3

#: Largest ratio of a column's mean to its standard deviation.
FARTHEST = 30.0

#: Largest number of samples that are looked at, evenly spaced.
_MOST_SAMPLES = 10_000

#: A column that holds one value in more than this share of the samples says little, whatever its scale.
_NEARLY_CONSTANT = 0.95


def describe_scales(split: Split) -> str | None:
    """Say which columns, or channels of images, have wild scales; None if none has. Image bytes are scaled later."""
    inputs = split.inputs
    if not inputs.is_floating_point():
        return None
    sample = inputs[:: max(1, len(inputs) // _MOST_SAMPLES)].double()
    columns = sample if sample.ndim == 2 else sample.movedim(1, -1).flatten(0, -2)
    kind = "column" if sample.ndim == 2 else "channel"
    return "; ".join(_describe_columns(columns, kind)) or None


def _describe_columns(columns: Tensor, kind: str) -> Iterator[str]:
    """Yield a clause for each problem of the columns [rows, columns], counted from 0."""
    places = _find_varying(columns)
    if not places:
        return
    mean, deviation = columns[:, places].mean(0), columns[:, places].std(0)
    widest, narrowest = int(deviation.argmax()), int(deviation.argmin())
    ratio = float(deviation[widest] / deviation[narrowest])
    if ratio > WIDEST:
        yield (
            f"the standard deviation is {float(deviation[widest]):.3g} in {kind} {places[widest]} and "
            f"{float(deviation[narrowest]):.3g} in {kind} {places[narrowest]}, {_format_ratio(ratio)} times less"
        )
    typical = float(deviation.median())
    if ratio <= WIDEST and not 1 / WIDEST <= typical <= WIDEST:
        yield f"a typical standard deviation of a {kind} is {typical:.3g}"
    distance = mean.abs() / deviation
    farthest = int(distance.argmax())
    if float(distance[farthest]) > FARTHEST:
        yield (
            f"the mean of {kind} {places[farthest]} is {float(mean[farthest]):.3g}, "
            f"{_format_ratio(float(distance[farthest]))} times its standard deviation"
        )


def _format_ratio(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio < 1e9 else f"{ratio:.2g}"


def _find_varying(columns: Tensor) -> list[int]:
    """Return the places of the columns that are not nearly constant."""
    is_usual = columns == columns.median(0).values
    places: list[int] = (is_usual.double().mean(0) <= _NEARLY_CONSTANT).nonzero().flatten().tolist()
    return places
