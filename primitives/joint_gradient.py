"""Joint gradient: runs a joint program on the features of many networks, without autograd.

Invariant: buffers are written once a step at fixed places, so that a step can be captured and replayed as a graph.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from primitives import numerics
from primitives.derivatives import gradients, reduced_to
from primitives.formula import Formula
from primitives.joint_program import (
    FEATURES,
    Argument,
    Builder,
    Kind,
    mark,
    scheduled,
)


@dataclass
class _Rows:
    """Rows of a buffer: where a stacked argument is taken from."""

    kind: Kind
    index: Tensor
    start: int | None  #: of rows one after the other

    def of(self, buffers: Mapping[Kind, Tensor]) -> Tensor:
        if self.start is not None:
            return buffers[self.kind][self.start : self.start + len(self.index)]
        return buffers[self.kind].index_select(0, self.index)


@dataclass
class _Call:
    """One call for a group of nodes."""

    function: Callable[..., Any]
    arguments: list[Any]  #: _Rows, a name of a shared input, a Tensor of numbers, or None where only the shape counts
    shapes: list[tuple[bool, bool]]
    wanted: tuple[bool, ...]
    rows: int
    kind: Kind
    start: int | None  #: row of the first value, where values are kept
    gradient: list["_Rows"]  #: contributions to the gradient of the results, to be added up
    to: list[int | None]  #: row of the first contribution to each argument's gradient


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
        builder = Builder()
        results = [builder.add(formula, index) for index, formula in enumerate(formulas)]
        mark(builder.nodes, results)
        self._count = len(formulas)
        #: What formulas look at alike: y, index, prior, num_classes, progress.
        self.shared = {
            each.name
            for node in builder.nodes
            for each in node.arguments
            if each.source == "input" and each.index < 0 and (node.needs_value or node.has_gradient)
        }
        self.used = {name: self._users(builder, name) for name in FEATURES}
        self._layout(builder, results)

    # --- layout --------------------------------------------------------------------------------------

    def _users(self, builder: Builder, name: str) -> list[int]:
        """The formulas that look at a feature."""
        users = {
            each.index
            for node in builder.nodes
            for each in node.arguments
            if each.source == "input" and each.name == name and (node.needs_value or node.has_gradient)
        }
        return sorted(users)

    def _layout(self, builder: Builder, results: Sequence[Argument]) -> None:
        nodes = builder.nodes
        groups = scheduled(nodes, builder)
        rows: dict[Kind, int] = defaultdict(int)
        place: dict[Any, int] = {}
        self._feature_rows: dict[str, tuple[Kind, int]] = {}
        for name, users in self.used.items():
            kind = (name != "norm", True)
            self._feature_rows[name] = kind, rows[kind]
            for user in users:
                place[name, user] = rows[kind]
                rows[kind] += 1
        for group in groups:
            if nodes[group[0]].needs_value:
                for index in group:
                    place[index] = rows[nodes[index].kind]
                    rows[nodes[index].kind] += 1
        contributions: dict[Kind, int] = defaultdict(lambda: 1)  # row 0 stays zero
        given: dict[Any, list[int]] = defaultdict(list)
        seeds = []
        for formula, result in enumerate(results):
            key = result.index if result.source == "node" else (result.name, formula)
            moved = nodes[result.index].has_gradient if result.source == "node" else result.name in FEATURES
            if moved:
                kind = builder.kind_of(result)
                given[key].append(contributions[kind])
                seeds.append((formula, kind, contributions[kind]))
                contributions[kind] += 1
        calls = []
        to_of: dict[int, list[int | None]] = {}
        for position in range(len(groups) - 1, -1, -1):
            first = nodes[groups[position][0]]
            to: list[int | None] = []
            for argument in range(len(first.arguments)):
                if not (first.has_gradient and first.wanted[argument]):
                    to.append(None)
                    continue
                kind = builder.kind_of(first.arguments[argument])
                to.append(contributions[kind])
                for index in groups[position]:
                    each = nodes[index].arguments[argument]
                    given[each.index if each.source == "node" else (each.name, each.index)].append(contributions[kind])
                    contributions[kind] += 1
            to_of[position] = to
        for position, group in enumerate(groups):
            calls.append(self._call(builder, group, place, given, to_of[position]))
        self.calls = calls
        self._rows_of_values, self._rows_of_contributions = dict(rows), dict(contributions)
        self._starts = seeds
        self._leaves = {
            name: self._sums([given[name, user] for user in users], (name != "norm", True))
            for name, users in self.used.items()
        }

    def _buffer(self, kind: Kind, rows: int) -> Tensor:
        shape = (rows, self._classes if kind[0] else 1, self._samples if kind[1] else 1)
        return torch.zeros(shape, device=self._device, dtype=self._dtype)

    def _call(
        self,
        builder: Builder,
        group: list[int],
        place: Mapping[Any, int],
        given: Mapping[Any, list[int]],
        to: list[int | None],
    ) -> _Call:
        nodes, first = builder.nodes, builder.nodes[group[0]]
        arguments: list[Any] = []
        for position, each in enumerate(first.arguments):
            column = [nodes[index].arguments[position] for index in group]
            if each.source == "number":
                numbers = torch.tensor([one.number for one in column], dtype=torch.float64)
                arguments.append(numbers.to(self._device, self._dtype).reshape(-1, 1, 1))
            elif each.source == "input" and each.index < 0:
                arguments.append(each.name)
            else:
                keys = [one.index if one.source == "node" else (one.name, one.index) for one in column]
                known = all(key in place for key in keys)
                arguments.append(self._rows([place[key] for key in keys], builder.kind_of(each)) if known else None)
        gradient = self._sums([given[index] for index in group], first.kind) if first.has_gradient else []
        return _Call(
            first.function,
            arguments,
            [builder.kind_of(each) for each in first.arguments],
            first.wanted,
            len(group),
            first.kind,
            place.get(group[0]),
            gradient,
            to,
        )

    def _rows(self, rows: list[int], kind: Kind) -> _Rows:
        consecutive = rows == list(range(rows[0], rows[0] + len(rows)))
        return _Rows(kind, torch.tensor(rows, device=self._device), rows[0] if consecutive else None)

    def _sums(self, contributions: list[list[int]], kind: Kind) -> list[_Rows]:
        """The rows to add up for each result: as many terms as the one with the most has, the rest zeros."""
        terms = max(map(len, contributions), default=0)
        return [
            self._rows([each[term] if term < len(each) else 0 for each in contributions], kind) for term in range(terms)
        ]

    # --- running -------------------------------------------------------------------------------------

    def prepare(self, samples: int, segments: int, factors: Sequence[float]) -> None:
        """Make room for ``segments`` of ``samples`` each; ``factors`` [formulas] multiply the losses."""
        self._samples, self._segments = samples * segments, segments
        self._values = {kind: self._buffer(kind, count) for kind, count in self._rows_of_values.items()}
        self._contributions = {kind: self._buffer(kind, count) for kind, count in self._rows_of_contributions.items()}
        for formula, kind, row in self._starts:
            self._contributions[kind][row] = factors[formula] / (samples if kind[1] else 1)

    @torch.no_grad()
    def run(self, features: Mapping[str, Tensor], shared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradient for each feature that formulas look at, in the features' shape.

        ``shared`` holds what ``self.shared`` names: ``index`` [1, 1, segments*samples], ``y``
        [1, classes, segments*samples], ``prior`` [1, classes, 1], ``num_classes`` and ``progress`` [1, 1, 1].
        """
        for name, users in self.used.items():
            if users:
                kind, start = self._feature_rows[name]
                taken = features[name] if len(users) == self._count else features[name][users]
                self._values[kind][start : start + len(users)].view(taken.shape).copy_(taken)
        kept: list[tuple[list[Any], Any]] = []
        for call in self.calls:
            arguments = [self._argument(each, call, shared, place) for place, each in enumerate(call.arguments)]
            result = None
            if call.start is not None:
                result = self._computed(call.function, arguments)
                self._values[call.kind][call.start : call.start + call.rows].copy_(result)
            kept.append((arguments, result))
        for call, (arguments, result) in zip(reversed(self.calls), reversed(kept), strict=True):
            if call.gradient:
                self._add_gradients(call, arguments, result)
        return {name: self._of_feature(name) for name, users in self.used.items() if users}

    def _argument(self, source: Any, call: _Call, shared: Mapping[str, Tensor], place: int) -> Any:
        if isinstance(source, _Rows):
            return source.of(self._values)
        if isinstance(source, str):
            tensor = shared[source]
            return tensor.expand(call.rows, -1, -1) if source == "index" else tensor
        if source is None:  # only its shape counts
            classes, samples = call.shapes[place]
            empty = self._contributions[call.shapes[place]][:1]
            return empty.expand(call.rows, self._classes if classes else 1, self._samples if samples else 1)
        return source

    def _computed(self, function: Callable[..., Any], arguments: list[Any]) -> Tensor:
        if function is numerics.batch_mean:
            return self._over_segments(arguments[0])
        result: Tensor = function(*arguments)
        return result

    def _over_segments(self, x: Tensor) -> Tensor:
        """Mean over the samples of each segment, given for each of its samples."""
        spread = x.expand(-1, -1, self._samples).unflatten(2, (self._segments, -1))
        return spread.mean(3, keepdim=True).expand_as(spread).flatten(2)

    def _add_gradients(self, call: _Call, arguments: list[Any], result: Any) -> None:
        g = call.gradient[0].of(self._contributions)
        for more in call.gradient[1:]:
            g = g + more.of(self._contributions)
        found: list[Tensor | None]
        if call.function is numerics.batch_mean:
            found = [reduced_to(self._over_segments(g), arguments[0].shape)]
        else:
            found = gradients(call.function, g, result, arguments, call.wanted)
        for gradient, start, shape in zip(found, call.to, call.shapes, strict=True):
            if start is not None:
                target = self._contributions[shape][start : start + call.rows]
                if gradient is None:
                    target.zero_()
                else:
                    target.copy_(gradient)

    def _of_feature(self, name: str) -> Tensor:
        total = self._leaves[name][0].of(self._contributions)
        for more in self._leaves[name][1:]:
            total = total + more.of(self._contributions)
        total = total.unflatten(2, (self._segments, -1))
        users = self.used[name]
        if len(users) == self._count:
            return total
        whole = total.new_zeros(self._count, *total.shape[1:])
        whole[users] = total
        return whole
