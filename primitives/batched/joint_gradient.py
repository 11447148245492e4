"""Joint gradient: runs a joint program on the features of many networks, without autograd.

Invariant: buffers are written once a step at fixed places and nothing is copied to or from the host, so that a step
can be captured and replayed as a graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossearch.primitives.batched.joint_plan import KindRows, Plan, PlannedCall
from lossearch.primitives.batched.joint_program import Kind
from lossearch.primitives.batched.rows import Source, added_up, taken
from lossearch.primitives.language import numerics
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES
from lossearch.primitives.programs.derivatives import gradients, reduce_to


@dataclass
class PlacedCall:
    """A planned call with the places where it reads and writes."""

    function: Callable[..., Any]
    wanted: tuple[bool, ...]
    rows: int
    arguments: list[Source | str]  #: a shared input by its name
    value: Tensor | None  #: where the result is put, if it is kept
    gradient: list[Source]  #: contributions to the gradient of the results, to be added up
    to: list[Tensor | None]  #: where the contribution to each argument's gradient is put


class JointGradient:
    """Gradients of formulas at features, each averaged over the samples of a segment and times a factor.

    ``prepare`` says how many samples and segments there are, and with which factors; then ``run`` takes the features,
    [formulas, classes, segments, samples] each (``norm``: 1 in the place of classes), that formulas look at, and gives
    the gradient for each in the same shape. Segments, such as trainings under different seeds, know nothing of each
    other.
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
        self._plan = Plan(formulas, self._device, dtype)
        self._count = len(formulas)
        self.calls = self._plan.calls
        #: What formulas look at alike: y, index, prior, num_classes, progress.
        self.shared = self._plan.shared
        #: The formulas that look at each feature.
        self.used = {name: self._plan.features[name].users if name in self._plan.features else [] for name in FEATURES}

    def buffer_bytes(self, samples: int, segments: int) -> int:
        """How much memory ``prepare`` takes."""
        size = torch.empty((), dtype=self._dtype).element_size()
        numbers = 0
        for rows in (self._plan.rows_of_values, self._plan.rows_of_contributions):
            for kind, count in rows.items():
                rows_size = (self._classes if kind[0] else 1) * (samples * segments if kind[1] else 1)
                numbers += count * rows_size
        return size * numbers

    # --- places --------------------------------------------------------------------------------------

    def prepare(self, samples: int, segments: int, factors: Sequence[float]) -> None:
        """Make room for ``segments`` of ``samples`` each; ``factors`` [formulas] multiply the losses."""
        self._samples, self._segments = samples * segments, segments
        self._placed: list[PlacedCall] = []  # gives former places back before new ones are taken
        self._values = {kind: self._buffer(kind, count) for kind, count in self._plan.rows_of_values.items()}
        self._contributions = {
            kind: self._buffer(kind, count) for kind, count in self._plan.rows_of_contributions.items()
        }
        for formula, kind, row in self._plan.starts:
            self._contributions[kind][row] = factors[formula] / (samples if kind[1] else 1)
        self._nothing = torch.zeros(1, 1, 1, device=self._device, dtype=self._dtype)
        self._placed = [self._placed_call(call) for call in self.calls]

    def _buffer(self, kind: Kind, rows: int) -> Tensor:
        return torch.zeros((rows, *self._shape(kind)), device=self._device, dtype=self._dtype)

    def _shape(self, kind: Kind) -> tuple[int, int]:
        return self._classes if kind[0] else 1, self._samples if kind[1] else 1

    def _placed_call(self, call: PlannedCall) -> PlacedCall:
        of_values = None if call.start is None else self._values[call.kind][call.start : call.start + call.rows]
        return PlacedCall(
            call.function,
            call.wanted,
            call.rows,
            [self._source(each, call, place) for place, each in enumerate(call.arguments)],
            of_values,
            [each.of(self._contributions) for each in call.gradient],
            [
                None if start is None else self._contributions[kind][start : start + call.rows]
                for start, kind in zip(call.to, call.kinds, strict=True)
            ],
        )

    def _source(self, argument: Any, call: PlannedCall, place: int) -> Source | str:
        if isinstance(argument, KindRows):
            return argument.of(self._values)
        if argument is None:  # only its shape counts
            return self._nothing.expand(call.rows, *self._shape(call.kinds[place]))
        source: Source | str = argument
        return source

    # --- a step --------------------------------------------------------------------------------------

    @torch.no_grad()
    def run(self, features: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradient for each feature that formulas look at, in the features' shape.

        ``shared`` holds what ``self.shared`` names: ``index`` [1, 1, segments*samples], ``y``
        [1, classes, segments*samples], ``prior`` [1, classes, 1], ``num_classes`` and ``progress`` [1, 1, 1].
        """
        for name, feature in self._plan.features.items():
            everyone = len(feature.users) == self._count
            taken = features[name] if everyone else features[name].index_select(0, feature.index)
            rows = self._values[feature.kind][feature.start : feature.start + len(feature.users)]
            rows.view(taken.shape).copy_(taken)
        kept: list[tuple[list[Tensor], Any]] = []
        for call in self._placed:
            arguments = [_read(each, shared, call.rows) for each in call.arguments]
            result = None
            if call.value is not None:
                result = self._computed(call.function, arguments)
                call.value.copy_(result)
            kept.append((arguments, result))
        for call, (arguments, result) in zip(reversed(self._placed), reversed(kept), strict=True):
            if call.gradient:
                self._add_gradients(call, arguments, result)
        return {name: self._of_feature(name) for name in self._plan.features}

    def _computed(self, function: Callable[..., Any], arguments: list[Tensor]) -> Tensor:
        if function is numerics.batch_mean:
            return self._over_segments(arguments[0])
        result: Tensor = function(*arguments)
        return result

    def _over_segments(self, x: Tensor) -> Tensor:
        """Mean over the samples of each segment, given for each of its samples."""
        spread = x.expand(-1, -1, self._samples).unflatten(2, (self._segments, -1))
        return spread.mean(3, keepdim=True).expand_as(spread).flatten(2)

    def _add_gradients(self, call: PlacedCall, arguments: list[Tensor], result: Any) -> None:
        g = added_up(call.gradient)
        found: list[Tensor | None]
        if call.function is numerics.batch_mean:
            found = [reduce_to(self._over_segments(g), arguments[0].shape)]
        else:
            found = gradients(call.function, g, result, arguments, call.wanted)
        for gradient, target in zip(found, call.to, strict=True):
            if target is not None:
                if gradient is None:
                    target.zero_()
                else:
                    target.copy_(gradient)

    def _of_feature(self, name: str) -> Tensor:
        feature = self._plan.features[name]
        if not feature.gradient:  # looked at, and moved by nothing
            classes = self._classes if feature.kind[0] else 1
            return self._nothing.expand(self._count, classes, self._samples).unflatten(2, (self._segments, -1))
        total = added_up([each.of(self._contributions) for each in feature.gradient])
        total = total.unflatten(2, (self._segments, -1))
        if len(feature.users) == self._count:
            return total
        return total.new_zeros(self._count, *total.shape[1:]).index_copy_(0, feature.index, total)


def _read(source: Source | str, shared: Mapping[str, Tensor], rows: int) -> Tensor:
    if isinstance(source, str):
        return shared[source].expand(rows, -1, -1) if source == "index" else shared[source]
    return taken(source)
