"""Joint gradient: runs a joint program on the features of many networks, without autograd.

Invariant: each step writes the same buffers at the same places and copies nothing to or from the host, so that it can
be captured and replayed as a CUDA graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossearch.primitives.batched.joint_plan import JointPlan, KindRows, PlannedCall
from lossearch.primitives.batched.joint_program import Kind
from lossearch.primitives.batched.rows import Source, add_up, read_rows
from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES
from lossearch.primitives.programs.derivatives import gradients, reduce_to


@dataclass
class PlacedCall:
    """A planned call, with the places where it reads and writes."""

    function: Callable[..., Any]
    wanted: tuple[bool, ...]
    rows: int
    arguments: list[Source | str]  #: a shared input is given by its name
    value: Tensor | None  #: the place of the result, None where it is not kept
    gradient: list[Source]  #: contributions that add up to the gradient of the results
    to: list[Tensor | None]  #: the place of the contribution to each argument's gradient


class JointGradient:
    """Gradients of formulas with respect to features: of the mean over the samples of a segment, times a factor.

    Call ``prepare`` with the numbers of samples and segments and the factors. Then ``run`` takes the features that
    formulas look at, [formulas, classes, segments, samples] each (``norm``: 1 in the place of classes), and returns the
    gradient for each in the same shape. Segments, such as trainings under different seeds, are independent.
    """

    def __init__(
        self,
        formulas: Sequence[Formula],
        classes: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._classes, self._samples, self._segments = classes, 1, 1
        self._device, self._dtype = torch.device(device), dtype
        self._plan = JointPlan(formulas, self._device, dtype)
        self._count = len(formulas)
        self.calls = self._plan.calls
        #: Inputs that are the same for all formulas: y, index, prior, num_classes, progress.
        self.shared = self._plan.shared
        #: The formulas that look at each feature.
        self.used = {name: self._plan.features[name].users if name in self._plan.features else [] for name in FEATURES}

    def buffer_bytes(self, samples: int, segments: int) -> int:
        """Return the bytes that ``prepare`` allocates."""
        size = torch.empty((), dtype=self._dtype).element_size()
        numbers = 0
        for rows in (self._plan.rows_of_values, self._plan.rows_of_contributions):
            for kind, count in rows.items():
                rows_size = (self._classes if kind[0] else 1) * (samples * segments if kind[1] else 1)
                numbers += count * rows_size
        return size * numbers

    # Places.

    def prepare(self, samples: int, segments: int, factors: Sequence[float]) -> None:
        """Allocate buffers for ``segments`` of ``samples`` each. ``factors`` [formulas] multiply the losses."""
        self._samples, self._segments = samples * segments, segments
        self._placed: list[PlacedCall] = []  # frees the former buffers before new ones are allocated
        self._values = {kind: self._buffer(kind, count) for kind, count in self._plan.rows_of_values.items()}
        self._contributions = {
            kind: self._buffer(kind, count) for kind, count in self._plan.rows_of_contributions.items()
        }
        for formula, kind, row in self._plan.starts:
            self._contributions[kind][row] = factors[formula] / (samples if kind[1] else 1)
        self._zero = torch.zeros(1, 1, 1, device=self._device, dtype=self._dtype)
        self._placed = [self._place_call(call) for call in self.calls]

    def _buffer(self, kind: Kind, rows: int) -> Tensor:
        return torch.zeros((rows, *self._shape(kind)), device=self._device, dtype=self._dtype)

    def _shape(self, kind: Kind) -> tuple[int, int]:
        return self._classes if kind[0] else 1, self._samples if kind[1] else 1

    def _place_call(self, call: PlannedCall) -> PlacedCall:
        values = None if call.start is None else self._values[call.kind][call.start : call.start + call.rows]
        return PlacedCall(
            call.function,
            call.wanted,
            call.rows,
            [self._source(argument, call, place) for place, argument in enumerate(call.arguments)],
            values,
            [rows.of(self._contributions) for rows in call.gradient],
            [
                None if start is None else self._contributions[kind][start : start + call.rows]
                for start, kind in zip(call.to, call.kinds, strict=True)
            ],
        )

    def _source(self, argument: Any, call: PlannedCall, place: int) -> Source | str:
        if isinstance(argument, KindRows):
            return argument.of(self._values)
        if argument is None:  # only the shape counts
            return self._zero.expand(call.rows, *self._shape(call.kinds[place]))
        source: Source | str = argument
        return source

    # A step.

    @torch.no_grad()
    def run(self, features: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the gradient for each feature that formulas look at, in the feature's shape.

        ``shared`` has the inputs that ``self.shared`` names: ``index`` [1, 1, segments*samples], ``y``
        [1, classes, segments*samples], ``prior`` [1, classes, 1], ``num_classes`` and ``progress`` [1, 1, 1].
        """
        for name, feature in self._plan.features.items():
            all_use_it = len(feature.users) == self._count
            values = features[name] if all_use_it else features[name].index_select(0, feature.index)
            rows = self._values[feature.kind][feature.start : feature.start + len(feature.users)]
            rows.view(values.shape).copy_(values)
        kept: list[tuple[list[Tensor], Any]] = []
        for call in self._placed:
            arguments = [_read(source, shared, call.rows) for source in call.arguments]
            result = None
            if call.value is not None:
                result = self._compute(call.function, arguments)
                call.value.copy_(result)
            kept.append((arguments, result))
        for call, (arguments, result) in zip(reversed(self._placed), reversed(kept), strict=True):
            if call.gradient:
                self._add_gradients(call, arguments, result)
        return {name: self._feature_gradient(name) for name in self._plan.features}

    def _compute(self, function: Callable[..., Any], arguments: list[Tensor]) -> Tensor:
        if function is numerics.batch_mean:
            return self._average_over_segments(arguments[0])
        result: Tensor = function(*arguments)
        return result

    def _average_over_segments(self, x: Tensor) -> Tensor:
        """Return the mean over the samples of each segment, repeated for each of its samples."""
        spread = x.expand(-1, -1, self._samples).unflatten(2, (self._segments, -1))
        return spread.mean(3, keepdim=True).expand_as(spread).flatten(2)

    def _add_gradients(self, call: PlacedCall, arguments: list[Tensor], result: Any) -> None:
        g = add_up(call.gradient)
        contributions: list[Tensor | None]
        if call.function is numerics.batch_mean:
            contributions = [reduce_to(self._average_over_segments(g), arguments[0].shape)]
        else:
            contributions = gradients(call.function, g, result, arguments, call.wanted)
        for gradient, target in zip(contributions, call.to, strict=True):
            if target is not None:
                if gradient is None:
                    target.zero_()
                else:
                    target.copy_(gradient)

    def _feature_gradient(self, name: str) -> Tensor:
        feature = self._plan.features[name]
        if not feature.gradient:  # formulas look at it, but it moves none of their values
            classes = self._classes if feature.kind[0] else 1
            return self._zero.expand(self._count, classes, self._samples).unflatten(2, (self._segments, -1))
        total = add_up([rows.of(self._contributions) for rows in feature.gradient])
        total = total.unflatten(2, (self._segments, -1))
        if len(feature.users) == self._count:
            return total
        return total.new_zeros(self._count, *total.shape[1:]).index_copy_(0, feature.index, total)


def _read(source: Source | str, shared: Mapping[str, Tensor], rows: int) -> Tensor:
    if isinstance(source, str):
        return shared[source].expand(rows, -1, -1) if source == "index" else shared[source]
    return read_rows(source)
