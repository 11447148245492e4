"""Joint plan: the rows of every value and gradient of a joint program, so that a call reads and writes whole rows.

Values have one buffer for each kind and contributions to gradients another, [rows, classes, samples]. The rows of a
group of nodes are consecutive. Row 0 of the contributions stays zero, for sums with fewer terms than the longest.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossearch.primitives.batched.joint_program import Argument, Builder, Kind, call_key, mark_needed
from lossearch.primitives.batched.rows import BufferRows, Source, rows_at, rows_of_terms
from lossearch.primitives.batched.scheduling import schedule
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.language.terminals import FEATURES


@dataclass
class KindRows:
    """Rows in the buffer of a kind, from which a stacked argument is read."""

    kind: Kind
    rows: BufferRows

    def of(self, buffers: Mapping[Kind, Tensor]) -> Source:
        """Return the place of the rows in the buffer of their kind."""
        return self.rows.of(buffers[self.kind])


@dataclass
class PlannedCall:
    """One call for a group of nodes."""

    function: Callable[..., Any]
    arguments: list[Any]  #: KindRows, the name of a shared input, a Tensor of numbers, or None if only the shape counts
    kinds: list[Kind]  #: of the arguments
    wanted: tuple[bool, ...]
    rows: int
    kind: Kind
    start: int | None  #: row of the first value, None where values are not kept
    gradient: list[KindRows]  #: contributions that add up to the gradient of the results
    to: list[int | None]  #: row of the first contribution to each argument's gradient


@dataclass
class Feature:
    """A feature that formulas look at: its rows, its users, and the contributions that add up to its gradient."""

    kind: Kind
    start: int
    users: list[int]  #: the formulas that look at it
    index: Tensor  #: the users, on the device
    gradient: list[KindRows]


#: The gradient of a formula's value in itself: the formula, the kind of its value, the row.
Start = tuple[int, Kind, int]


class JointPlan:
    """The calls that compute the joint gradient of formulas, in order, and the rows that they need."""

    def __init__(self, formulas: Sequence[Formula], device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._builder = Builder()
        results = [self._builder.add(formula, index) for index, formula in enumerate(formulas)]
        self._nodes = self._builder.nodes
        mark_needed(self._nodes, results)
        self._groups = schedule(self._nodes, lambda node: call_key(node, self._builder))
        users = {name: self._users(name) for name in FEATURES}
        self.rows_of_values: dict[Kind, int] = defaultdict(int)
        self.rows_of_contributions: dict[Kind, int] = defaultdict(lambda: 1)
        self._place: dict[Any, int] = {}  # row of a value, by node or by feature and formula
        self._contributed: dict[Any, list[int]] = defaultdict(list)  # rows of contributions to a gradient, likewise
        #: Inputs that are the same for all formulas: y, index, prior, num_classes, progress.
        self.shared = {argument.name for argument in self._inputs() if argument.index < 0}
        starts = self._place_values(users)
        self.starts: list[Start] = self._start_gradients(results)
        to = self._place_contributions()
        self.calls = [self._plan_call(group, to[position]) for position, group in enumerate(self._groups)]
        self.features = {
            name: Feature(
                feature_kind(name),
                starts[name],
                formulas_of,
                torch.tensor(formulas_of, dtype=torch.int64, device=device),
                self._find_sums([self._contributed[name, user] for user in formulas_of], feature_kind(name)),
            )
            for name, formulas_of in users.items()
            if formulas_of
        }

    def _inputs(self) -> list[Argument]:
        """Return the inputs of the nodes that are computed."""
        live = (node for node in self._nodes if node.needs_value or node.has_gradient)
        return [argument for node in live for argument in node.arguments if argument.source == "input"]

    def _users(self, name: str) -> list[int]:
        """Return the formulas that look at a feature."""
        return sorted({argument.index for argument in self._inputs() if argument.name == name})

    def _place_values(self, users: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Give rows to features, then to nodes whose value is needed. Returns the first row of each feature."""
        starts = {}
        for name, formulas in users.items():
            starts[name] = self.rows_of_values[feature_kind(name)]
            for user in formulas:
                self._take_row((name, user), feature_kind(name))
        for group in self._groups:
            for index in group:
                if self._nodes[index].needs_value:
                    self._take_row(index, self._nodes[index].kind)
        return starts

    def _take_row(self, key: Any, kind: Kind) -> None:
        self._place[key] = self.rows_of_values[kind]
        self.rows_of_values[kind] += 1

    def _start_gradients(self, results: Sequence[Argument]) -> list[Start]:
        """Give rows to the gradients of the formulas' values in themselves, from which all others follow."""
        starts = []
        for formula, result in enumerate(results):
            node = self._nodes[result.index]
            if node.has_gradient:
                starts.append((formula, node.kind, self._contribute(result.index, node.kind)))
        return starts

    def _contribute(self, key: Any, kind: Kind) -> int:
        """Give a row to one more contribution to the gradient of a node or feature."""
        row = self.rows_of_contributions[kind]
        self.rows_of_contributions[kind] += 1
        self._contributed[key].append(row)
        return row

    def _place_contributions(self) -> dict[int, list[int | None]]:
        """Give rows to the contributions of each group to its arguments, the last group first."""
        to: dict[int, list[int | None]] = {}
        for position in range(len(self._groups) - 1, -1, -1):
            group = self._groups[position]
            first = self._nodes[group[0]]
            to[position] = [
                self._place_group_contributions(group, place) if first.has_gradient and wanted else None
                for place, wanted in enumerate(first.wanted)
            ]
        return to

    def _place_group_contributions(self, group: Sequence[int], place: int) -> int:
        """Give rows to the contributions of a group to its arguments in one place. Returns the first row."""
        arguments = [self._nodes[index].arguments[place] for index in group]
        kind = self._builder.kind_of(arguments[0])
        rows = [self._contribute(_key(argument), kind) for argument in arguments]
        return rows[0]

    def _plan_call(self, group: list[int], to: list[int | None]) -> PlannedCall:
        first = self._nodes[group[0]]
        kinds = [self._builder.kind_of(argument) for argument in first.arguments]
        return PlannedCall(
            first.function,
            [self._argument([self._nodes[index].arguments[place] for index in group]) for place in range(len(kinds))],
            kinds,
            first.wanted,
            len(group),
            first.kind,
            self._place.get(group[0]),
            self._find_sums([self._contributed[index] for index in group], first.kind) if first.has_gradient else [],
            to,
        )

    def _argument(self, column: Sequence[Argument]) -> Any:
        """Return the arguments of a group in one place."""
        first = column[0]
        if first.source == "number":
            numbers = torch.tensor([argument.number for argument in column], dtype=torch.float64)
            return numbers.to(self._device, self._dtype).reshape(-1, 1, 1)
        if first.source == "input" and first.index < 0:
            return first.name
        keys = [_key(argument) for argument in column]
        if not all(key in self._place for key in keys):
            return None
        return self._rows([self._place[key] for key in keys], self._builder.kind_of(first))

    def _rows(self, rows: list[int], kind: Kind) -> KindRows:
        return KindRows(kind, rows_at(rows, self._device))

    def _find_sums(self, contributions: list[list[int]], kind: Kind) -> list[KindRows]:
        """Return the rows that add up to the gradient of each result."""
        return [self._rows(rows, kind) for rows in rows_of_terms(contributions)]


def feature_kind(name: str) -> Kind:
    """Return the kind of a feature: all but the norm vary over the classes."""
    return name != "norm", True


def _key(argument: Argument) -> Any:
    """Return the key of a node's or a feature's rows."""
    return argument.index if argument.source == "node" else (argument.name, argument.index)
